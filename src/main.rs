//! argv -> exit code: 0 done, 1 failed, 2 wrong usage. The only place that prints errors.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use tallyd::options::{self, Command};
use tallyd::{error, inspect, report, serve};

fn main() -> ExitCode {
    report::start();
    let command = match options::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &error::Error, code: u8) -> ExitCode {
    // With nobody to read it, the exit code still tells.
    let _unread = writeln!(std::io::stderr(), "tallyd: {error}");
    ExitCode::from(code)
}
