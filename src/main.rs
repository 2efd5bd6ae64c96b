//! Arguments in, exit status out.

use std::process::ExitCode;

use hbsniff::cli::Cli;
use hbsniff::run::{RunError, Verdict, complain, run};
#[cfg(target_os = "linux")]
use hbsniff::sockets::helper;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if helper::is_meant() {
        return helper::main();
    }
    match Cli::from_args().map_err(RunError::from).and_then(|cli| run(&cli)) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(e) => {
            complain(&e);
            ExitCode::from(2)
        }
    }
}
