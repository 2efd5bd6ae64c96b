//! Documents that show commands: their blocks, and whether what they show is what is printed.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository, by its path from the root.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The fenced blocks of one kind, in order.
pub fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let opening = format!("```{kind}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Each one-line command in a `sh` block that begins with `prefix`, and the `text` block after it, to be what `print` makes
/// of the command without its prefix. Where `variable` is set, the document is written anew instead. Returns how many there
/// were; a command that `print` cannot run here counts, but is not compared.
pub fn shows_what_is_printed(
    name: &str,
    prefix: &str,
    variable: &str,
    print: impl Fn(&str) -> Option<String>,
) -> usize {
    let text = read(name);
    let mut updated = text.clone();
    let opening = format!("```sh\n{prefix}");
    let mut shown = 0;
    for rest in text.split(&opening).skip(1) {
        let (command, rest) = rest.split_once('\n').unwrap_or_else(|| panic!("{name}: a block is open"));
        let after = rest.strip_prefix("```\n").unwrap_or_else(|| panic!("{name}: one line a command: {command}"));
        let output = after.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let output = output.unwrap_or_else(|| panic!("{name}: its output is not shown: {command}"));
        shown += 1;
        let Some(printed) = print(command) else { continue };
        let block = |output: &str| format!("{opening}{command}\n{}```text\n{output}```", between(rest));
        if std::env::var_os(variable).is_some() {
            updated = updated.replacen(&block(output), &block(&printed), 1);
        } else {
            assert_eq!(output, printed, "{name}: `{command}`; {variable}=1 brings it up to date");
        }
    }
    if updated != text {
        fs::write(path(name), updated).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    shown
}

/// What stands between a command and its output.
fn between(rest: &str) -> &str {
    rest.split("```text\n").next().unwrap_or_default()
}

/// The files that a document links to, from its own place, must exist.
pub fn links_exist(name: &str) {
    for link in read(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = link.split('#').next().unwrap_or_default();
        let there = link.starts_with("https://") || path(name).with_file_name(file).exists();
        assert!(there, "{name}: {link}");
    }
}

/// Every option of hbsniff in the commands shown must exist.
pub fn options_exist(name: &str) {
    let help = super::stdout(&["--help-all"], b"");
    let text = read(name);
    let lines = ["sh", "console"].into_iter().flat_map(|kind| blocks(&text, kind)).flat_map(str::lines);
    for line in lines {
        let Some((_, command)) = line.split_once("hbsniff ") else { continue };
        let own = command.split(['|', '>']).next().unwrap_or_default();
        for option in own.split(' ').filter(|word| word.starts_with('-') && *word != "-") {
            assert!(help.contains(option), "{name}: {option} of: {line}");
        }
    }
}
