//! The one binary: each subcommand is a library of its own.

mod simulate;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use steadfast_cli::{admin, print};
use steadfast_server::config::{self, File, Sources};
use steadfast_server::repair::RepairCommand;

const EXAMPLES: &str = "\
Examples:
  steadfast                                   serve from ./data on RocketMQ's ports
  steadfast server --data /var/lib/steadfast --set brokerIP1=10.0.0.5
                                              serve other machines too
  steadfast server -c broker.conf             settings from RocketMQ's file, or from TOML; --set overrides them
  steadfast server --peers mq1,mq2,mq3 --set replicationSecretFile=secret
                                              one of three: two broker groups, each with a replica on every machine
  steadfast server --help-config              every setting with its default and meaning
  steadfast admin queryMsgByKey -t SCANRECORD -k orderId
                                              find a message; `steadfast admin` lists the commands
  steadfast bench                             measure the server on this machine
  steadfast repair --data DIR                 list damaged messages; --apply lets consumers pass them
  steadfast sim --seeds 100                   try to break it: simulated crashes and disk faults
Any RocketMQ client works with it: name server 127.0.0.1:9876.";

/// A message queue that loses no message, for RocketMQ's clients and tools
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The same commands as `steadfast admin`, for who types RocketMQ's name
#[derive(Debug, Parser)]
#[command(name = "mqadmin", version)]
struct MqAdmin {
    #[command(flatten)]
    args: admin::AdminArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: broker and name server in one process (the default command)
    Server(ServerArgs),
    Admin(admin::AdminArgs),
    /// Measure a server: load that is read back and checked before a figure counts
    Bench(Box<steadfast_cli::bench::BenchArgs>),
    /// List the damaged messages of a stopped server, and give them up if asked to
    Repair {
        /// Directory of all data
        #[arg(long, short, value_name = "DIR")]
        data: PathBuf,
        /// Record each damaged message as a hole: consumers pass it, lookups say that it was given up
        #[arg(long)]
        apply: bool,
    },
    Sim(simulate::SimArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HelpFormat {
    Text,
    Markdown,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// Directory of all data; made if missing (short for --set storePathRootDir=DIR)
    #[arg(long, short, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File with settings, TOML or RocketMQ's broker.conf and namesrv.conf; may be given many times, the last wins
    #[arg(long, short, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Name servers to register with (short for --set namesrvAddr=ADDR)
    #[arg(long, short, value_name = "HOST:PORT;HOST:PORT")]
    namesrv: Option<String>,
    /// What this process does: all, namesrv or broker (short for --set role=ROLE)
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// All processes of a cluster, 3 or 5, the same list on each: two broker groups with a replica in every process, led by
    /// different ones. PORT (9876) is the name server's; another one moves all ports of that process as far. Beyond one machine
    /// it takes --set replicationSecretFile=FILE (short for --set peers=LIST)
    #[arg(long, value_name = "HOST[:PORT],HOST[:PORT],HOST[:PORT]", value_parser = NonEmptyStringValueParser::new())]
    peers: Option<String>,
    /// Which of --peers this process is, if its addresses do not tell (short for --set peersSelf=HOST)
    #[arg(long = "self", value_name = "HOST[:PORT]")]
    own: Option<String>,
    /// One setting; may be given many times, and wins over the file
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print every setting with its default and meaning, as text or as markdown
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    help_config: Option<HelpFormat>,
    /// What goes to stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: tracing::Level,
    /// How: lines for people, or an object a line for machines
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,
}

impl ServerArgs {
    fn run(self) -> anyhow::Result<()> {
        match self.help_config {
            Some(HelpFormat::Text) => print::result(&config::help()),
            Some(HelpFormat::Markdown) => print::result(&config::markdown()),
            None => {
                log_to_stderr(self.log, self.log_format);
                steadfast_server::run(&self.sources()?)
            }
        }
    }

    fn sources(self) -> anyhow::Result<Sources> {
        let short = |key: &str, value: Option<String>| value.map(|value| format!("{key}={value}"));
        let data = short("storePathRootDir", self.data.map(|dir| dir.display().to_string()));
        let role = short("role", self.role);
        let namesrv = short("namesrvAddr", self.namesrv);
        let (peers, own) = (short("peers", self.peers), short("peersSelf", self.own));
        Ok(Sources {
            environment: std::env::var("NAMESRV_ADDR").ok(),
            files: self.config.into_iter().map(read).collect::<anyhow::Result<_>>()?,
            arguments: [data, role, namesrv, peers, own].into_iter().flatten().chain(self.set).collect(),
            ..Sources::default()
        })
    }
}

fn read(path: PathBuf) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("reading the configuration {}", path.display()))?;
    Ok(File { path, text })
}

fn log_to_stderr(level: tracing::Level, format: LogFormat) {
    // A line that cannot be written is lost: telling so on the same stream would panic, and end the server.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_max_level(level).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Whether the program was called by the name of RocketMQ's tool.
fn is_mqadmin(args: &[OsString]) -> bool {
    args.first().is_some_and(|path| Path::new(path).file_stem() == Some("mqadmin".as_ref()))
}

fn run() -> anyhow::Result<()> {
    let mut args: Vec<_> = std::env::args_os().collect();
    if is_mqadmin(&args) {
        admin::accept_rocketmq_style(&mut args[1..]);
        return admin::run(MqAdmin::parse_from(args).args, MqAdmin::command());
    }
    if args.get(1).is_some_and(|command| command == "admin") {
        admin::accept_rocketmq_style(&mut args[2..]);
    }
    let Cli { command, server } = Cli::parse_from(args);
    match command {
        None => server.run(),
        Some(Command::Server(args)) => args.run(),
        Some(Command::Admin(args)) => admin::run(args, Cli::command()),
        Some(Command::Bench(args)) => steadfast_cli::bench::run(*args),
        Some(Command::Repair { data, apply }) => {
            RepairCommand { data: &data, apply }.run(&mut std::io::stdout())
        }
        Some(Command::Sim(args)) => args.run(),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::note(format_args!("steadfast: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
