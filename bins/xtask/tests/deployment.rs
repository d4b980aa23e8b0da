//! What stands in `docs/deploy` and in `docs/deployment.md` can be done: every setting that is named
//! there is one of the binary that it is handed to.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const UNITS: [&str; 3] = [
    "platform-server.service",
    "inbox.service",
    "user/inbox.service",
];
/// Words that look like settings and are address families.
const NO_SETTINGS: [&str; 3] = ["AF_INET", "AF_INET6", "AF_UNIX"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap()
}

fn unit(name: &str) -> String {
    read(&format!("docs/deploy/{name}"))
}

fn containerfile() -> String {
    read("docs/deploy/Containerfile")
}

/// What a program can be told.
#[derive(Debug, Default)]
struct Settings {
    variables: BTreeSet<String>,
    options: BTreeSet<String>,
}

impl Settings {
    /// Those of the binary of that name.
    fn of(program: &str) -> Self {
        let sources: &[&str] = match program {
            "platform-server" => &["settings.rs", "cli.rs"],
            "inbox" => &["flags.rs", "cli.rs"],
            _ => panic!("there is no binary {program}"),
        };
        let mut settings = Self::default();
        for source in sources {
            let code = read(&format!("bins/{program}/src/{source}"));
            for flags in code.split("#[derive(Debug, Args)]").skip(1) {
                settings.add(flags.split("\n}").next().unwrap());
            }
        }
        assert!(settings.options.len() > 20, "{settings:?}");
        assert!(settings.variables.len() > 20, "{settings:?}");
        settings
    }

    /// Those of one struct, of which each field has its attributes before it.
    fn add(&mut self, fields: &str) {
        let mut attributes = String::new();
        for line in fields.lines().map(str::trim) {
            let field = line.trim_start_matches("pub(crate) ").split_once(": ");
            match field {
                Some((name, _)) if is_lower_word(name) => {
                    self.add_field(name, &attributes);
                    attributes.clear();
                }
                _ if line.starts_with("///") => {}
                _ => attributes.push_str(line),
            }
        }
    }

    fn add_field(&mut self, name: &str, attributes: &str) {
        let words: Vec<_> = attributes.split(|c: char| !c.is_alphanumeric()).collect();
        if words.contains(&"long") {
            self.options.insert(name.replace('_', "-"));
        }
        let named = attributes.split_once("env = \"");
        let named = named.map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
        if words.contains(&"env") {
            let variable = named.unwrap_or_else(|| name.to_uppercase());
            self.variables.insert(variable);
        }
    }

    fn assert_option(&self, word: &str, place: &str) {
        let name = word.trim_start_matches("--").split('=').next().unwrap();
        assert!(
            self.options.contains(name),
            "--{name} in {place} is no option"
        );
    }

    fn assert_variable(&self, name: &str, place: &str) {
        assert!(
            self.variables.contains(name),
            "{name} in {place} is no variable"
        );
    }
}

fn is_lower_word(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    letters && !text.is_empty()
}

fn is_variable(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    text.bytes().all(letters) && text.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The file's name at the end of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn options(words: &[&str]) -> Vec<String> {
    let options = words.iter().filter(|word| word.starts_with("--"));
    options.map(|word| (*word).to_owned()).collect()
}

#[test]
fn settings_are_found_in_the_code() {
    let server = Settings::of("platform-server");
    for variable in ["BIND", "DATABASE_URL", "RUST_LOG", "COPY_FROM"] {
        server.assert_variable(variable, "this test");
    }
    for option in ["--bind", "--log=warn", "--down-to"] {
        server.assert_option(option, "this test");
    }
    let inbox = Settings::of("inbox");
    for variable in ["INBOX_DIR", "INBOX_TOKEN", "RUST_LOG", "INBOX_ADMIN_TOKEN"] {
        inbox.assert_variable(variable, "this test");
    }
    for option in ["--dir", "--once", "--exec", "--mime-type"] {
        inbox.assert_option(option, "this test");
    }
    assert!(!inbox.options.contains("files"), "{inbox:?}");
}

#[test]
fn every_setting_in_a_unit_is_one_of_its_program() {
    for name in UNITS {
        let unit = unit(name);
        let value = |line: &str, key| line.strip_prefix(key).map(str::to_owned);
        let start = unit.lines().find_map(|line| value(line, "ExecStart="));
        let start = start.unwrap();
        let words: Vec<_> = start.split_whitespace().collect();
        let settings = Settings::of(base(words[0]));
        for option in options(&words) {
            settings.assert_option(&option, name);
        }
        let set = unit.lines().filter_map(|line| value(line, "Environment="));
        let set: Vec<_> = set.collect();
        assert!(!set.is_empty(), "{name}");
        for assignment in set {
            settings.assert_variable(assignment.split('=').next().unwrap(), name);
        }
    }
}

#[test]
fn every_setting_in_an_image_is_one_of_its_program() {
    let file = containerfile();
    let mut stage = "";
    let mut images = BTreeSet::new();
    for line in file.lines() {
        if line.starts_with("FROM ") {
            stage = line.rsplit(' ').next().unwrap();
        } else if let Some(assignment) = line.strip_prefix("ENV ") {
            let name = assignment.split('=').next().unwrap();
            Settings::of(stage).assert_variable(name, "the Containerfile");
            images.insert(stage);
        } else if line.starts_with("ENTRYPOINT ") || line.starts_with("CMD ") {
            let words: Vec<_> = line.split('"').collect();
            for option in options(&words) {
                Settings::of(stage).assert_option(&option, "the Containerfile");
            }
        }
    }
    assert_eq!(images, BTreeSet::from(["inbox", "platform-server"]));
}

#[test]
fn images_are_built_by_the_toolchain_of_the_repository() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.split('"').nth(1).unwrap();
    let from = format!("\nFROM rust:{channel}-slim-");
    assert!(containerfile().contains(&from), "{channel}");
}

#[test]
fn every_setting_that_is_mentioned_exists() {
    let document = read("docs/deployment.md");
    let mut texts: Vec<_> = UNITS.map(unit).into();
    texts.extend([containerfile(), document.clone()]);
    let mut known = Settings::of("platform-server").variables;
    known.extend(Settings::of("inbox").variables);
    let mut mentioned = BTreeSet::new();
    for text in &texts {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        mentioned.extend(words.filter(|word| is_variable(word) && word.contains('_')));
    }
    mentioned.retain(|word| !NO_SETTINGS.contains(word));
    assert!(mentioned.contains("ADMIN_TOKEN"), "{mentioned:?}");
    let unknown: Vec<_> = mentioned
        .iter()
        .filter(|word| !known.contains(**word))
        .collect();
    assert!(unknown.is_empty(), "these are no settings: {unknown:?}");
}

#[test]
fn every_option_in_a_command_of_the_document_exists() {
    let document = read("docs/deployment.md").replace("\\\n", " ");
    let mut found = 0;
    for block in document.split("```").skip(1).step_by(2) {
        for command in block.lines() {
            let words: Vec<_> = command.split_whitespace().collect();
            let is_ours = |word: &&str| ["platform-server", "inbox"].contains(&base(word));
            // Before its last mention stand those who start it, and what they are told.
            let Some(at) = words.iter().rposition(is_ours) else {
                continue;
            };
            for option in options(&words[at..]) {
                Settings::of(base(words[at])).assert_option(&option, command);
                found += 1;
            }
        }
    }
    assert!(found > 2, "only {found} options were found");
}
