//! argv -> exit code: 0 done, 1 failed, 2 wrong usage. The only place that prints errors.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use tallyd::options::{self, Command};
use tallyd::{error, inspect, report, serve};

fn main() -> ExitCode {
    report::start();
    let parsed = options::parse(std::env::args_os().skip(1), |name| std::env::var_os(name));
    // A command of the shell waits for its reader; a server never does.
    if !matches!(parsed, Ok(Command::Print(_) | Command::Inspect(_)))
        && let Err(error) = report::start_queue()
    {
        return failed(&error, 1);
    }
    if !matches!(parsed, Ok(Command::Print(_))) {
        for warning in options::unknown_variables(std::env::vars_os()) {
            log::warn!("{warning}");
        }
    }
    let command = match parsed {
        Ok(command) => command,
        Err(error) => return failed(&error, 2),
    };
    let done = match command {
        Command::Print(text) => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|cause| error::Error::io("write to", "standard output", cause)),
        Command::Serve(options) => serve::serve(&options),
        Command::Inspect(task) => match inspect::run(&task) {
            Ok(inspect::Verdict::Damaged) => return ExitCode::FAILURE,
            done => done.map(drop),
        },
    };
    match done {
        Ok(()) => {
            report::flush();
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &error::Error, code: u8) -> ExitCode {
    // With nobody to read it, the exit code still tells.
    report::error(error);
    report::flush();
    ExitCode::from(code)
}
