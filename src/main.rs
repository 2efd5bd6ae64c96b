//! Arguments in, exit status out.

use std::process::ExitCode;

use hbsniff::cli::Cli;
use hbsniff::run::{Verdict, complain, run};

fn main() -> ExitCode {
    match run(&Cli::from_args()) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(e) => {
            complain(&e);
            ExitCode::from(2)
        }
    }
}
