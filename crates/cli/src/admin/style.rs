//! What RocketMQ's command line allows and ours does not: command names in any case, and long options with one dash
//! (`-topic SCANRECORD`).

use std::ffi::OsString;

use clap::{Args as _, Command};

use super::AdminArgs;

/// Rewrites the arguments after `admin` (or after `mqadmin`) to our style. Leaves alone what it does not know.
pub fn accept_rocketmq_style(args: &mut [OsString]) {
    let root = AdminArgs::augment_args(Command::new("admin"));
    let named = |arg: &OsString| {
        let mut commands = root.get_subcommands();
        commands.find(|command| arg.to_str().is_some_and(|arg| arg.eq_ignore_ascii_case(command.get_name())))
    };
    let Some((at, command)) = args.iter().enumerate().find_map(|(at, arg)| Some((at, named(arg)?))) else {
        return;
    };
    args[at] = command.get_name().into();
    let options =
        || command.get_arguments().chain(root.get_arguments()).filter_map(|option| option.get_long());
    for arg in &mut args[at + 1..] {
        let Some(text) = arg.to_str() else { continue };
        let name = text.split('=').next().unwrap_or(text).strip_prefix('-');
        if options().any(|option| Some(option) == name) {
            *arg = format!("-{text}").into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(args: &[&str]) -> Vec<String> {
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        accept_rocketmq_style(&mut args);
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn names_in_any_case_and_long_options_with_one_dash_are_accepted() {
        assert_eq!(
            rewritten(&["querymsgbykey", "-topic", "A", "-msgKey=k", "-namesrvAddr", "x:1", "-m", "3"]),
            ["queryMsgByKey", "--topic", "A", "--msgKey=k", "--namesrvAddr", "x:1", "-m", "3"]
        );
    }

    #[test]
    fn what_is_not_known_stays() {
        for args in [["-x", "nothing", "-topic"], ["topicList", "-nonsense", "topic"]] {
            assert_eq!(rewritten(&args), args);
        }
    }
}
