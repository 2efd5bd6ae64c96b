//! The configuration file: defaults for options, and rows for the table of idle timeouts.
//!
//! Options are called as on the command line. They become arguments that stand before those given, and the same parser
//! checks them, so that whatever may be given may be configured.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::liveness::limits::Limit;

/// Where the system's defaults lie.
const SYSTEM: &str = "/etc/hbsniff.toml";
/// Options that say what a single run is about, or where this file lies.
const NO_DEFAULTS: [&str; 6] = ["read", "config", "no-config", "help", "help-all", "version"];

/// What a configuration file says.
#[derive(Debug, Default)]
pub(super) struct Config {
    settings: Vec<Setting>,
    /// Rows for the table of idle timeouts.
    pub(super) limits: Vec<Limit>,
}

/// One option.
#[derive(Debug)]
struct Setting {
    /// As the parser knows it.
    id: String,
    /// As on a command line.
    args: Vec<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// What it says makes no sense.
    #[error("{0}: {1}")]
    Wrong(PathBuf, String),
}

/// What of the file is not options.
#[derive(Deserialize)]
struct Rows {
    #[serde(default)]
    limit: Vec<Limit>,
}

impl Config {
    /// Reads the configuration that holds for a command line: the file it names, or that of HBSNIFF_CONFIG, or the user's,
    /// or the system's. None for one that analyses nothing.
    pub(super) fn find(given: &ArgMatches, command: &Command) -> Result<Option<Config>, ConfigError> {
        let on_line = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
        let alone = command.get_arguments().any(|arg| arg.is_exclusive_set() && on_line(arg.get_id().as_str()));
        if alone || given.subcommand().is_some() || on_line("no_config") {
            return Ok(None);
        }
        let named = given.get_one::<PathBuf>("config").cloned().or_else(|| env("HBSNIFF_CONFIG"));
        if let Some(path) = named {
            // `HBSNIFF_CONFIG=` is how a script says that it wants none.
            return if path.as_os_str().is_empty() {
                Ok(None)
            } else {
                Config::read(&path, command)?.map_or_else(
                    || Err(ConfigError::Unreadable(path, io::ErrorKind::NotFound.into())),
                    |config| Ok(Some(config)),
                )
            };
        }
        let home = || Some(env("HOME")?.join(".config"));
        // The XDG Base Directory Specification: a relative path is to be ignored.
        let user = env("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).or_else(home);
        for path in user.map(|dir| dir.join("hbsniff/config.toml")).into_iter().chain([PathBuf::from(SYSTEM)]) {
            match Config::read(&path, command) {
                Ok(None) => {}
                // Somebody else's home, which this user may not look into.
                Err(ConfigError::Unreadable(path, _)) if fs::metadata(&path).is_err() => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// Reads a file; `None` if there is no such file.
    fn read(path: &Path, command: &Command) -> Result<Option<Config>, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(ConfigError::Unreadable(path.to_owned(), e)),
        };
        Config::parse(&text, command).map(Some).map_err(|e| ConfigError::Wrong(path.to_owned(), e))
    }

    /// Reads a file's text; an error names the key and its line.
    fn parse(text: &str, command: &Command) -> Result<Config, String> {
        let wrong = |e: toml::de::Error| e.to_string().trim_end().to_owned();
        let limits = toml::from_str::<Rows>(text).map_err(wrong)?.limit;
        let keys = toml::from_str::<BTreeMap<Spanned<String>, Value>>(text).map_err(wrong)?;
        let mut settings = Vec::new();
        for (key, value) in keys.iter().filter(|(key, _)| key.as_ref() != "limit") {
            let line = text[..key.span().start].matches('\n').count() + 1;
            settings.push(setting(key.as_ref(), value, command).map_err(|e| format!("line {line}: {e}"))?);
        }
        let config = Config { settings, limits };
        let all = config.settings.iter().flat_map(|s| &s.args);
        refused(command, all).map_or(Ok(config), Err)
    }

    /// The command line with these settings before it, but for those on which it has the last word.
    pub(super) fn before(&self, args: &[OsString], given: &ArgMatches, command: &Command) -> Vec<OsString> {
        let on_line = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let named = |id: &str| command.get_arguments().find(|arg| arg.get_id() == id);
        let excludes = |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id());
        let open = |setting: &&Setting| {
            named(&setting.id).is_some_and(|arg| {
                let mut given = command.get_arguments().filter(|a| on_line(a));
                !given.any(|g| g.get_id() == arg.get_id() || excludes(g, arg) || excludes(arg, g))
            })
        };
        let settings = self.settings.iter().filter(open).flat_map(|s| s.args.iter().map(OsString::from));
        let (program, rest) = args.split_at(args.len().min(1));
        program.iter().cloned().chain(settings).chain(rest.iter().cloned()).collect()
    }
}

fn env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// The option of a key and its value.
fn setting(key: &str, value: &Value, command: &Command) -> Result<Setting, String> {
    let option = |arg: &&Arg| arg.get_long() == Some(key) && !arg.is_exclusive_set() && !NO_DEFAULTS.contains(&key);
    let Some(arg) = command.get_arguments().find(option) else {
        let like = similar(key, command).filter(|name| !NO_DEFAULTS.contains(&name.as_str()));
        let like = like.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(format!("there is no option {key:?} to give a default{like}"));
    };
    let flag = !arg.get_action().takes_values();
    let optional = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    let args = match value {
        Value::Boolean(on) if flag || optional => on.then(|| format!("--{key}")).into_iter().collect(),
        _ if flag => return Err(format!("{key} is true or false")),
        Value::Array(values) => values.iter().map(|v| argument(key, v)).collect::<Result<_, _>>()?,
        value => vec![argument(key, value)?],
    };
    refused(command, &args).map_or_else(|| Ok(Setting { id: arg.get_id().to_string(), args }), Err)
}

fn argument(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(s) => Ok(format!("--{key}={s}")),
        Value::Integer(n) => Ok(format!("--{key}={n}")),
        Value::Float(n) => Ok(format!("--{key}={n}")),
        _ => Err(format!("{key} takes a text or a number")),
    }
}

/// What the parser has against these arguments, in a line.
fn refused<'a>(command: &Command, args: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let args = std::iter::once("hbsniff").chain(args.into_iter().map(String::as_str));
    let error = command.clone().try_get_matches_from(args).err()?;
    let text = error.to_string();
    let said = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    Some(said.trim_start_matches("error: ").to_owned())
}

/// The option that the parser takes for the one meant.
fn similar(key: &str, command: &Command) -> Option<String> {
    let error = command.clone().try_get_matches_from(["hbsniff", &format!("--{key}")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(name) => Some(name.trim_start_matches('-').to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::{CommandFactory, FromArgMatches};

    fn parsed(text: &str) -> Result<Config, String> {
        Config::parse(text, &Cli::command())
    }

    /// What comes of a configuration and a command line.
    fn cli(text: &str, args: &[&str]) -> Cli {
        let command = Cli::command();
        let args: Vec<OsString> = [&["hbsniff"], args].concat().iter().map(OsString::from).collect();
        let given = command.clone().try_get_matches_from(&args).unwrap();
        let args = parsed(text).unwrap().before(&args, &given, &command);
        Cli::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
    }

    #[test]
    fn defaults_hold_where_the_command_line_is_silent() {
        let text = "memory-limit = \"512M\"\nport = [5432, 6379]\njson = true\nlocal = false\n";
        let silent = cli(text, &["a.pcap"]);
        assert_eq!((silent.memory_limit, silent.port.as_slice()), (512 << 20, [5432, 6379].as_slice()));
        assert!(silent.json && !silent.local);
        let spoken = cli(text, &["a.pcap", "--memory-limit", "2G", "--port", "80", "--events"]);
        assert_eq!((spoken.memory_limit, spoken.port.as_slice()), (2 << 30, [80].as_slice()));
        assert!(spoken.events && !spoken.json, "the command line chose another form");
        assert!(!cli("local = true\n", &["a.pcap", "--utc"]).local);
    }

    #[test]
    fn options_for_live_captures_do_not_hinder_files() {
        let text = "interface = \"eth0\"\nsnaplen = 128\n";
        assert_eq!(cli(text, &["a.pcap"]).interface, None);
        assert_eq!(cli(text, &[]).snaplen, 128);
        assert_eq!(cli(text, &["-i", "lo"]).interface.as_deref(), Some("lo"));
    }

    #[test]
    fn rows_are_those_of_the_table() {
        let row = "[[limit]]\nname = \"our NAT\"\nlimit_s = 40\nresets = \"any\"\nsource = \"the wiki\"\n";
        let config = parsed(&format!("port = 80\n{row}")).unwrap();
        assert_eq!((config.limits[0].name.as_str(), config.limits[0].limit_s), ("our NAT", 40.0));
        let error = parsed(&row.replace("resets", "reset")).unwrap_err();
        assert!(error.contains("line 4") && error.contains("reset"), "{error}");
    }

    #[test]
    fn an_error_names_the_key_and_the_line() {
        for (text, words) in [
            ("all = true\nprot = 80\n", &["line 2", "\"prot\"", "did you mean port?"][..]),
            ("# ports\n\nport = 70000\n", &["line 3", "70000", "--port"]),
            ("json = 1\n", &["line 1", "json is true or false"]),
            ("port = [[1]]\n", &["line 1", "port takes"]),
            ("json = true\nevents = true\n", &["--json", "--events"]),
            ("man = true\n", &["line 1", "\"man\""]),
            ("read = \"a.pcap\"\n", &["line 1", "\"read\""]),
            ("[output]\njson = true\n", &["line 1", "\"output\""]),
            ("port 80\n", &["line 1"]),
            ("port = 1\nport = 2\n", &["line 2", "port"]),
            ("fail-on = \"rain\"\n", &["line 1", "rain"]),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
    }
}
