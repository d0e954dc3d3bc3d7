//! `steadfast admin`: RocketMQ's `mqadmin` with the same commands, options and columns, for any server that speaks the
//! remoting protocol.
//!
//! A command asks the name servers where to go (`cluster`), asks brokers, and prints one value in one of two forms
//! (`output`). A lookup that finds nothing tells how far it searched (`absence`) and is an error, as is everything
//! that a server refuses.

mod absence;
mod body;
mod brokers;
mod charset;
mod cluster;
mod connections;
mod cq;
mod direct;
mod find;
mod groups;
mod jumps;
mod keys;
mod manual;
mod message;
mod offsets;
mod output;
mod place;
mod pretty;
mod progress;
mod queue;
mod read;
mod retention;
mod search;
mod send;
mod status;
mod style;
mod time;
mod topic_views;
mod topics;
mod track;

use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use self::absence::NotFound;
use self::cluster::Cluster;
use self::output::Out;
pub use self::style::accept_rocketmq_style;
use crate::print;

const NAMESRV: &str = "127.0.0.1:9876";

/// Heading of the options that all commands have.
const EVERYWHERE: &str = "Options of every command";

const AFTER: &str = "\
Exit codes: 0 done, 1 not found or refused (the reason is on standard error), 2 wrong usage.

Every command prints the columns of RocketMQ's mqadmin, or with --json one line of JSON whose keys stay the same. \
Under the name `mqadmin` (ln -s steadfast mqadmin) this program takes the commands right away.";

/// Look into servers and change them: RocketMQ's mqadmin, with the same commands, options and columns
#[derive(Debug, Args)]
#[command(after_help = AFTER, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
pub struct AdminArgs {
    /// Name servers, separated by semicolons
    #[arg(short, long = "namesrvAddr", value_name = "HOST:PORT", global = true, env = "NAMESRV_ADDR",
          default_value = NAMESRV, hide_env_values = true, help_heading = EVERYWHERE)]
    namesrv: String,
    /// Print JSON, one line for each result
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// Seconds to wait for a server's answer
    #[arg(long, value_name = "S", global = true, default_value_t = 10, help_heading = EVERYWHERE,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(subcommand)]
    command: Command,
}

/// The commands: a variant and a way to run it for each. Their names, texts and options are at their types.
macro_rules! commands {
    ($($name:ident($args:ty)),+ $(,)?) => {
        #[derive(Debug, Subcommand)]
        #[command(rename_all = "camelCase")]
        enum Command {
            $($name($args),)+
            /// Print a completion script for a shell
            #[command(after_help = COMPLETION)]
            Completion {
                /// The shell
                #[arg(value_enum)]
                shell: Shell,
            },
            /// Print the manual of all commands, as Markdown
            Manual,
        }

        impl Command {
            async fn run(self, cluster: &Cluster, out: Out, root: clap::Command) -> anyhow::Result<()> {
                match self {
                    $(Command::$name(command) => command.run(cluster, out).await,)+
                    Command::Completion { shell } => complete(shell, root, out),
                    Command::Manual => out.text(&manual::text()),
                }
            }
        }
    };
}

commands! {
    QueryMsgByKey(keys::ByKey),
    QueryMsgById(find::ById),
    QueryMsgByUniqueKey(find::ByUniqueKey),
    QueryMsgByOffset(find::ByOffset),
    UpdateTopic(topics::UpdateTopic),
    DeleteTopic(topics::Delete),
    TopicList(topic_views::List),
    TopicRoute(topic_views::Route),
    TopicStatus(topic_views::Status),
    TopicClusterList(topic_views::ClusterList),
    ClusterList(brokers::List),
    BrokerStatus(brokers::Status),
    GetBrokerConfig(brokers::GetConfig),
    UpdateBrokerConfig(brokers::UpdateConfig),
    Retention(retention::Retention),
    ConsumerProgress(progress::Progress),
    PositionJumps(jumps::PositionJumps),
    ConsumerStatus(status::Status),
    ProducerConnection(connections::Producers),
    ConsumerConnection(connections::Consumers),
    UpdateSubGroup(groups::Update),
    DeleteSubGroup(groups::Delete),
    ResetOffsetByTime(offsets::ResetByTime),
    SendMessage(send::SendMessage),
    ConsumeMessage(read::ConsumeMessage),
    PrintMsg(read::PrintMsg),
    PrintMsgByQueue(read::PrintMsgByQueue),
    QueryCq(cq::QueryCq),
}

const COMPLETION: &str = "\
Examples:
  steadfast admin completion bash > /etc/bash_completion.d/steadfast
  mqadmin completion zsh > ~/.zfunc/_mqadmin";

fn complete(shell: Shell, mut root: clap::Command, out: Out) -> anyhow::Result<()> {
    let (mut script, name) = (Vec::new(), root.get_name().to_owned());
    clap_complete::generate(shell, &mut root, name, &mut script);
    out.text(&String::from_utf8_lossy(&script))
}

/// Runs a command and prints its result on stdout. `root` is the whole command line, which completion scripts are for.
///
/// An error means that it was not found or not done, and says why.
pub fn run(args: AdminArgs, root: clap::Command) -> anyhow::Result<()> {
    let out = Out { json: args.json };
    let cluster = Cluster::new(&args.namesrv, Duration::from_secs(args.timeout));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(args.command.run(&cluster, out, root));
    match result {
        Err(error) if print::is_reader_gone(&error) => Ok(()),
        Err(error) => {
            if out.json
                && let Some(not_found) = error.downcast_ref::<NotFound>()
            {
                out.show(not_found)?;
            }
            Err(error)
        }
        done => done,
    }
}
