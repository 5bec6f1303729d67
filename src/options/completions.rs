//! Completions for bash, zsh and fish, written from the tables of options and commands.
//!
//! Owns what a shell is told: the commands, their flags, and of a value its words, or that it is a directory,
//! or at least its default. zsh and fish also show what each is for.
//!
//! Must not know what any of it does. Invariant: whatever is offered is accepted, as far as it goes.

use super::commands::{COMMANDS, Row};
use super::table::{FLAGS, Flag, Takes, note};
use crate::front;
use std::fmt::Write;

/// The shells there are completions for.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What can stand somewhere.
enum Values {
    Nothing,
    Directories,
    Words(Vec<&'static str>),
}

/// The completions for a shell, if it is one of [`SHELLS`].
pub fn completions(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn values(flag: &Flag) -> Values {
    let with_default = |mut words: Vec<&'static str>| {
        // What is no single word is told of a default, and is none itself.
        if !flag.default.is_empty() && !flag.default.contains(' ') && !words.contains(&flag.default)
        {
            words.push(flag.default);
        }
        match words[..] {
            [] => Values::Nothing,
            _ => Values::Words(words),
        }
    };
    match flag.takes {
        Takes::Switch => Values::Nothing,
        Takes::Directory => Values::Directories,
        Takes::Front => Values::Words(front::Kind::ALL.map(front::Kind::name).to_vec()),
        Takes::Word(words) => Values::Words(words.to_vec()),
        Takes::Sync(..) => with_default(vec!["always", "never"]),
        Takes::Door => with_default(vec!["none"]),
        // The default of an instant is said in words.
        Takes::Rfc3339 => Values::Nothing,
        Takes::Address | Takes::Hosts | Takes::Span(..) | Takes::Number(..) => {
            with_default(Vec::new())
        }
    }
}

fn operands(row: &Row) -> Values {
    if row.operands.contains("DIR") {
        return Values::Directories;
    }
    match row.operands {
        "" => Values::Nothing,
        words => Values::Words(words.split('|').collect()),
    }
}

fn command_names(between: &str) -> String {
    COMMANDS.map(|row| row.name).join(between)
}

fn flag_names(flags: &[Flag]) -> String {
    flags
        .iter()
        .map(|flag| format!("--{} ", flag.name))
        .collect()
}

const BASH_HEAD: &str = r#"# Completions of tallyd for bash, written by tallyd completions bash.

_tallyd() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command="" flags words
    # In --flag=value the sign is a word of its own.
    if [ "$current" = = ]; then
        current=""
    elif [ "$before" = = ] && [ "$COMP_CWORD" -gt 2 ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
"#;
const BASH_TAIL: &str = r#"    case $current in
    -*) words=$flags ;;
    esac
    case $words in
    /)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}

complete -F _tallyd tallyd
"#;

/// Words as bash is told; a slash stands for directories.
fn bash_words(values: &Values) -> String {
    match values {
        Values::Nothing => String::new(),
        Values::Directories => "/".to_owned(),
        Values::Words(words) => words.join(" "),
    }
}

fn bash() -> String {
    let mut text = String::from(BASH_HEAD);
    let mut put = |line: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(text, "    {line}");
    };
    put(format_args!("if [ \"$COMP_CWORD\" -gt 1 ]; then"));
    put(format_args!("    case ${{COMP_WORDS[1]}} in"));
    put(format_args!(
        "    {}) command=${{COMP_WORDS[1]}} ;;",
        command_names(" | ")
    ));
    put(format_args!("    esac"));
    put(format_args!("fi"));
    put(format_args!("case $command in"));
    for row in &COMMANDS {
        let (name, flags, words) = (row.name, flag_names(row.flags), bash_words(&operands(row)));
        put(format_args!(
            "{name}) flags=\"{flags}--help\" words=\"{words}\" ;;"
        ));
    }
    let flags = flag_names(&FLAGS);
    put(format_args!(
        "*) flags=\"{flags}--help --version\" words=\"\" ;;"
    ));
    put(format_args!("esac"));
    put(format_args!(
        "[ \"$COMP_CWORD\" = 1 ] && words=\"{}\"",
        command_names(" ")
    ));
    put(format_args!("case $command$before in"));
    let of_commands = COMMANDS
        .iter()
        .flat_map(|row| row.flags.iter().map(|flag| (row.name, flag)));
    for (command, flag) in of_commands.chain(FLAGS.iter().map(|flag| ("", flag))) {
        if !matches!(flag.takes, Takes::Switch) {
            let words = bash_words(&values(flag));
            put(format_args!(
                "{command}--{}) words=\"{words}\" ;;",
                flag.name
            ));
        }
    }
    put(format_args!("esac"));
    text + BASH_TAIL
}

const ZSH_HEAD: &str = "#compdef tallyd\n\
    # Completions of tallyd for zsh, written by tallyd completions zsh.\n\n\
    _tallyd() {\n    local -a commands\n    commands=(\n";
const ZSH_TAIL: &str = "    esac\n}\n\n\
    if [ \"$funcstack[1]\" = _tallyd ]; then\n    _tallyd \"$@\"\nelse\n    compdef _tallyd tallyd\nfi\n";

/// `text` in single quotes, with a backslash before each of `special`.
fn zsh_quoted(text: &str, special: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => out.push_str("'\\''"),
            _ if special.contains(letter) => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
    }
    out
}

fn zsh_action(values: &Values) -> String {
    match values {
        Values::Nothing => " ".to_owned(),
        Values::Directories => "_files -/".to_owned(),
        Values::Words(words) => format!("({})", zsh_quoted(&words.join(" "), ":")),
    }
}

/// The flags of a command, or of the server, and what else it takes.
fn zsh_arguments(text: &mut String, flags: &[Flag], command: Option<&Row>) {
    text.push_str("        _arguments -s");
    for flag in flags {
        let said = zsh_quoted(
            &format!("{} ({})", flag.help, note(flag, command.is_none())),
            "[]\\",
        );
        let name = flag.name;
        let _infallible = match flag.takes {
            Takes::Switch => write!(text, " \\\n            '--{name}[{said}]'"),
            _ => {
                let value = zsh_quoted(flag.takes.value(), ":");
                let action = zsh_action(&values(flag));
                write!(
                    text,
                    " \\\n            '--{name}=[{said}]:{value}:{action}'"
                )
            }
        };
    }
    text.push_str(" \\\n            '(- *)'{-h,--help}'[what there is]'");
    let Some(row) = command else {
        text.push_str(" \\\n            '(- *)'{-V,--version}'[name and version]'\n        ;;\n");
        return;
    };
    if !row.operands.is_empty() {
        let count = if row.operands.ends_with("...") {
            "*"
        } else {
            "1"
        };
        let (value, action) = (zsh_quoted(row.operands, ":"), zsh_action(&operands(row)));
        let _infallible = write!(text, " \\\n            '{count}:{value}:{action}'");
    }
    text.push_str("\n        ;;\n");
}

fn zsh() -> String {
    let mut text = String::from(ZSH_HEAD);
    for row in &COMMANDS {
        let _infallible = writeln!(
            text,
            "        '{}:{}'",
            row.name,
            zsh_quoted(row.help, "\\")
        );
    }
    text.push_str(
        "    )\n    if ((CURRENT == 2)) && [[ $PREFIX != -* ]]; then\n        \
         _describe -t commands command commands\n        return\n    fi\n    case $words[2] in\n",
    );
    for row in &COMMANDS {
        let _infallible = writeln!(
            text,
            "    {})\n        shift words\n        ((CURRENT--))",
            row.name
        );
        zsh_arguments(&mut text, row.flags, Some(row));
    }
    text.push_str("    *)\n");
    zsh_arguments(&mut text, &FLAGS, None);
    text + ZSH_TAIL
}

fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

fn fish_action(values: &Values) -> String {
    match values {
        Values::Nothing => String::new(),
        Values::Directories => " -a '(__fish_complete_directories)'".to_owned(),
        Values::Words(words) => format!(" -a '{}'", fish_quoted(&words.join(" "))),
    }
}

fn fish_flags(text: &mut String, flags: &[Flag], command: Option<&Row>) {
    let condition = match command {
        Some(row) => format!("__fish_seen_subcommand_from {}", row.name),
        None => format!("not __fish_seen_subcommand_from {}", command_names(" ")),
    };
    let mut put = |rest: String| {
        let _infallible = writeln!(text, "complete -c tallyd -n '{condition}' {rest}");
    };
    for flag in flags {
        let said = fish_quoted(&format!(
            "{} ({})",
            flag.help,
            note(flag, command.is_none())
        ));
        let value = match flag.takes {
            Takes::Switch => String::new(),
            _ => format!(" -x{}", fish_action(&values(flag))),
        };
        put(format!("-l {}{value} -d '{said}'", flag.name));
    }
    if let Some(row) = command.filter(|row| !row.operands.is_empty()) {
        put(fish_action(&operands(row)).trim_start().to_owned());
    }
}

fn fish() -> String {
    let mut text = String::from(
        "# Completions of tallyd for fish, written by tallyd completions fish.\n\n\
         complete -c tallyd -f\n\
         complete -c tallyd -s h -l help -d 'what there is'\n",
    );
    for row in &COMMANDS {
        let _infallible = writeln!(
            text,
            "complete -c tallyd -n __fish_use_subcommand -a {} -d '{}'",
            row.name,
            fish_quoted(row.help)
        );
    }
    text.push_str(
        "complete -c tallyd -n __fish_use_subcommand -s V -l version -d 'name and version'\n",
    );
    fish_flags(&mut text, &FLAGS, None);
    for row in &COMMANDS {
        fish_flags(&mut text, row.flags, Some(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_completed_in_every_shell() {
        for shell in SHELLS {
            let text = completions(shell).expect("completions");
            let of_commands = COMMANDS.iter().flat_map(|row| row.flags);
            for flag in FLAGS.iter().chain(of_commands) {
                let name = match shell {
                    "fish" => format!("-l {} ", flag.name),
                    _ => format!("--{}", flag.name),
                };
                assert!(text.contains(&name), "{shell}: {name}");
                assert!(
                    text.contains(flag.default) || shell == "bash",
                    "{shell}: {}",
                    flag.default
                );
            }
            for row in &COMMANDS {
                assert!(text.contains(row.name), "{shell}: {}", row.name);
            }
        }
    }

    #[test]
    fn zsh_and_fish_say_the_variable_of_every_flag() {
        for shell in ["zsh", "fish"] {
            let text = completions(shell).expect("completions");
            for flag in &FLAGS {
                let variable = super::super::table::variable(flag.name);
                assert!(text.contains(&variable), "{shell}: {variable}");
            }
        }
    }

    #[test]
    fn another_shell_has_none() {
        assert_eq!(completions("csh"), None);
    }
}
