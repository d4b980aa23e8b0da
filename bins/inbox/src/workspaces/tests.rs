//! Which workspaces are meant, where they are, and whose token is shown to whom.

use std::fs;

use clap::Parser;
use pending_uploads_core::Token;
use tempfile::TempDir;

use super::*;
use crate::flags::CommonFlags;
use crate::registration::Place;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
}

const A: &str = "11111111-1111-4111-8111-111111111111";
const B: &str = "22222222-2222-4222-8222-222222222222";

/// A state folder, and a settings file.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn register(&self, id: &str, platform_url: &str) {
        let registration = StoredRegistration {
            platform_url: platform_url.parse().unwrap(),
            token: Token::generate().unwrap(),
        };
        let place = Place::make(self.0.path(), id.parse().unwrap()).unwrap();
        place.fill(&registration).unwrap();
    }

    fn settings(&self, options: &[&str], file: &str) -> Settings {
        let path = self.0.path().join("inbox.toml");
        fs::write(&path, file).unwrap();
        let own = [
            "inbox".to_owned(),
            format!("--config={}", path.display()),
            format!("--state-dir={}", self.0.path().display()),
        ];
        let options = options.iter().map(|option| (*option).to_owned());
        let flags = Flags::try_parse_from(own.into_iter().chain(options)).unwrap();
        Settings::read(flags.common).unwrap()
    }

    fn all(&self, options: &[&str], file: &str) -> Result<Vec<WorkspaceSettings>, SettingsError> {
        all(&self.settings(options, file), None)
    }

    fn ids(&self, options: &[&str], file: &str) -> Vec<String> {
        let all = self.all(options, file).unwrap();
        all.iter()
            .map(|workspace| workspace.id.to_string())
            .collect()
    }
}

fn tables() -> String {
    format!("[[workspace]]\nid = \"{A}\"\n[[workspace]]\nid = \"{B}\"\ndir = \"/srv/b\"\n")
}

#[test]
fn an_option_wins_over_the_file_and_that_over_what_is_registered() {
    let home = Home::new();
    home.register(A, "http://a.example");
    let named = format!("workspace_id = \"{B}\"");
    assert_eq!(home.ids(&[], ""), [A]);
    assert_eq!(home.ids(&[], &named), [B]);
    assert_eq!(home.ids(&[], &tables()), [A, B]);
    assert_eq!(home.ids(&[&format!("--workspace-id={A}")], &named), [A]);
    assert_eq!(home.ids(&[&format!("--workspace-id={B}")], &tables()), [B]);
    home.register(B, "http://b.example");
    assert_eq!(home.ids(&[], ""), [A, B]);
}

#[test]
fn workspaces_that_cannot_be_told_are_refused() {
    let home = Home::new();
    let refused = |file: &str| home.all(&[], file).unwrap_err();
    assert!(matches!(refused(""), SettingsError::NoWorkspace(_)));
    let both = format!("workspace_id = \"{A}\"\n{}", tables());
    assert!(matches!(refused(&both), SettingsError::BothWays));
    let twice = tables() + &tables();
    assert!(matches!(refused(&twice), SettingsError::Twice(_)));
    let several = one(&home.settings(&[], &tables())).unwrap_err();
    assert!(matches!(several, SettingsError::SeveralWorkspaces));
}

#[test]
fn a_workspace_is_where_it_was_registered_unless_a_setting_says_otherwise() {
    let home = Home::new();
    let url = |options: &[&str], file: &str| {
        let all = home.all(options, file).unwrap();
        all[0].platform_url.to_string()
    };
    let named = format!("--workspace-id={A}");
    let table = format!("platform_url = \"http://file\"\n[[workspace]]\nid = \"{A}\"\n");
    let own = format!("{table}platform_url = \"http://table\"\n");
    assert_eq!(url(&[&named], ""), "http://127.0.0.1:8080/");
    home.register(A, "http://registered");
    assert_eq!(url(&[], ""), "http://registered/");
    assert_eq!(url(&[], &table), "http://file/");
    assert_eq!(url(&[], &own), "http://table/");
    assert_eq!(
        url(&[&named, "--platform-url=http://option"], &own),
        "http://option/"
    );
}

#[test]
fn the_token_of_a_workspace_that_nobody_named_is_not_shown_to_another_platform() {
    let home = Home::new();
    home.register(A, "http://a.example");
    home.register(B, "http://b.example");
    let error = home
        .all(&["--platform-url=http://a.example"], "")
        .unwrap_err();
    assert!(
        matches!(error, SettingsError::OtherPlatform { .. }),
        "{error}"
    );
}

#[test]
fn a_token_comes_from_the_nearest_place() {
    let home = Home::new();
    let token = |options: &[&str], file: &str| home.all(options, file).unwrap()[0].token();
    let given = |origin: Result<TokenOrigin, SettingsError>| match origin {
        Ok(TokenOrigin::Given(token)) => token.expose().to_owned(),
        other => panic!("a token was given: {other:?}"),
    };
    let named = format!("--workspace-id={A}");
    let file = format!("token = \"file\"\n[[workspace]]\nid = \"{A}\"\n");
    let table = format!("{file}token = \"table\"\n");
    assert!(matches!(
        token(&[&named], ""),
        Err(SettingsError::NoToken(_))
    ));
    home.register(A, "http://a.example");
    assert!(matches!(
        token(&[], ""),
        Ok(TokenOrigin::Registration { .. })
    ));
    assert_eq!(given(token(&[], &file)), "file");
    assert_eq!(given(token(&[], &table)), "table");
    assert_eq!(given(token(&["--token=option"], &table)), "option");
    let of_file = token(&["--token-file=/run/token"], &table);
    assert!(matches!(of_file, Ok(TokenOrigin::File(path)) if path == Path::new("/run/token")));
}

#[test]
fn a_token_that_could_be_meant_otherwise_is_refused() {
    let home = Home::new();
    let refused = |options: &[&str], file: &str| home.all(options, file).unwrap_err();
    let error = refused(&["--token=a"], &tables());
    assert!(matches!(error, SettingsError::TokenOfOne(_)), "{error}");
    let error = refused(&[], &format!("token = \"a\"\n{}", tables()));
    assert!(matches!(error, SettingsError::TokenOfOne(_)), "{error}");
    let both = ["--token=a", "--token-file=/a"];
    let error = refused(&both, &format!("workspace_id = \"{A}\""));
    assert!(matches!(error, SettingsError::TwoTokens(_)), "{error}");
    let error = refused(&["--token=hunter2 x"], &format!("workspace_id = \"{A}\""));
    assert!(matches!(error, SettingsError::Token { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn several_workspaces_have_a_folder_each() {
    let home = Home::new();
    let folders = |file: &str, said: Option<&str>| {
        let all = all(&home.settings(&[], file), said.map(Path::new)).unwrap();
        let folders = all
            .iter()
            .map(|workspace| workspace.folder().display().to_string());
        folders.collect::<Vec<_>>()
    };
    let one = format!("dir = \"/file\"\nworkspace_id = \"{A}\"");
    assert_eq!(folders(&one, None), ["/file"]);
    assert_eq!(folders(&one, Some("/option")), ["/option"]);
    let shared = format!("dir = \"/file\"\n{}", tables());
    assert_eq!(
        folders(&shared, None),
        [format!("/file/{A}"), "/srv/b".to_owned()]
    );
    let expected = [format!("/option/{A}"), format!("/option/{B}")];
    assert_eq!(folders(&shared, Some("/option")), expected);
    let default = folders(&format!("workspace_id = \"{A}\""), None);
    let here = std::env::current_dir().unwrap().join("inbox");
    assert_eq!(default, [here.display().to_string()]);
}
