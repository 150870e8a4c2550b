//! What the arguments alone decide.

use crate::cli::assert_left;
use crate::support::Sandbox;

#[test]
fn without_a_command_the_commands_are_shown() {
    let sandbox = Sandbox::directory();
    let left = sandbox.mirror([""; 0]).exited(2);
    assert!(
        left.stderr().contains("Usage: mirror [OPTIONS] <COMMAND>"),
        "{left}"
    );
    let left = sandbox.mirror(["--help"]).succeeded();
    assert!(left.stdout().contains("Exit codes:"), "{left}");
}

#[test]
fn commands_of_later_are_not_there() {
    let sandbox = Sandbox::directory();
    for name in ["run", "undo", "mcp", "dashboard", "metrics", "config"] {
        sandbox.mirror([name]).exited(2);
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let sandbox = Sandbox::directory();
    let help = sandbox.mirror(["help"]).succeeded().stdout();
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.map(|line| line.split_whitespace().next().unwrap()) {
        if name == "help" {
            continue;
        }
        let left = sandbox.mirror([name, "--help"]).succeeded();
        assert!(left.stdout().contains("\nExamples:\n  "), "{left}");
    }
}

#[test]
fn a_misspelt_command_is_guessed() {
    assert_left!(Sandbox::directory().mirror(["statsu"]), @"
    $ mirror statsu
    --- stderr
    Error: Unrecognized subcommand 'statsu'
    Hint: Did you mean stage or status?
    Hint: Usage: mirror [OPTIONS] <COMMAND>
    --- exit 2
    ");
}

#[test]
fn a_misspelt_option_is_guessed() {
    assert_left!(Sandbox::directory().mirror(["begin", "--raeson", "x"]), @"
    $ mirror begin --raeson x
    --- stderr
    Error: Unexpected argument '--raeson' found
    Hint: Did you mean --reason?
    Hint: Usage: mirror begin --reason <TEXT>
    --- exit 2
    ");
}

#[test]
fn a_path_without_its_option_is_told_where_it_belongs() {
    assert_left!(Sandbox::directory().mirror(["begin", "-w", "src/a.js", "src/b.js"]), @"
    $ mirror begin -w src/a.js src/b.js
    --- stderr
    Error: Unexpected argument 'src/b.js' found
    Hint: If src/b.js is a path to lock: -w src/b.js; a pattern is quoted, as in -w 'src/*.js'; the command of a run comes after --
    Hint: Usage: mirror begin [OPTIONS]
    --- exit 2
    ");
}

#[test]
fn a_span_without_its_unit_is_refused() {
    assert_left!(Sandbox::directory().mirror(["begin", "--wait", "30"]), @"
    $ mirror begin --wait 30
    --- stderr
    Error: Invalid value '30' for '--wait <SPAN>': not a span of time such as 500ms, 30s or 5m
    Hint: Run `mirror begin --help`
    --- exit 2
    ");
}

#[test]
fn a_task_id_that_is_none_is_refused() {
    assert_left!(Sandbox::directory().mirror(["begin", "-t", "a/b"]), @r#"
    $ mirror begin -t a/b
    --- stderr
    Error: Invalid value 'a/b' for '--task <ID>': Invalid task id "a/b": only letters, digits, '.', '_' and '-' are allowed
    Hint: Run `mirror begin --help`
    --- exit 2
    "#);
}

#[test]
fn refused_arguments_are_a_document_with_json() {
    assert_left!(Sandbox::directory().mirror(["--json", "who"]), @r#"
    $ mirror --json who
    --- stderr
    {"error":{"kind":"usage","message":"The following required arguments were not provided:\n  <PATH>...","hint":"Usage: mirror who <PATH>...","conflicts":[],"paths":[]}}
    --- exit 2
    "#);
}

#[test]
fn a_command_without_a_task_says_how_to_name_one() {
    assert_left!(Sandbox::directory().mirror(["commit"]), @"
    $ mirror commit
    --- stderr
    Error: No task is named
    Hint: Add -t ID, or set MIRROR_TASK
    --- exit 2
    ");
}

#[test]
fn a_task_in_the_environment_that_is_none_is_refused() {
    let sandbox = Sandbox::directory();
    assert_left!(sandbox.mirror_program().args(["commit"]).env("MIRROR_TASK", "../x").run(), @r#"
    $ mirror commit
    --- stderr
    Error: MIRROR_TASK names no task: Invalid task id "../x": it must start with a letter or a digit
    Hint: Set it to a name such as agent-1, or `unset MIRROR_TASK`
    --- exit 2
    "#);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    assert_left!(Sandbox::directory().mirror(["-C", "nowhere", "status"]), @"
    $ mirror -C nowhere status
    --- stderr
    Error: Failed to read nowhere
    Caused by: No such file or directory (os error 2)
    Hint: `ls -la .` shows what there is
    --- exit 2
    ");
}

#[test]
fn another_store_is_refused_without_its_password() {
    let sandbox = Sandbox::directory();
    let left = sandbox.mirror(["--store", "redis://me:secret@localhost", "init"]);
    assert_left!(left, @r#"
    $ mirror --store redis://me:secret@localhost init
    --- stderr
    Error: Invalid value of --store: the store "redis" is not supported: this version knows only sqlite
    Hint: Leave --store out, or say sqlite
    --- exit 2
    "#);
    assert!(!sandbox.exists(".mirror"));
    assert!(!left.stderr().contains("secret"));
}

#[test]
fn the_user_configuration_is_read_and_its_mistakes_are_shown() {
    let sandbox = Sandbox::directory();
    let place = sandbox.home().join(".config/mirror");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("config.yaml"), "# mine\ngit:\n  banch: always\n").unwrap();
    assert_left!(sandbox.mirror(["init"]), @r#"
    $ mirror init
    --- stderr
    Error: Invalid configuration: unknown key "git.banch", expected one of target, branch
       --> [SANDBOX]/home/.config/mirror/config.yaml:3:3
        |
      3 |   banch: always
        |   ^
    Hint: Mend it; `mirror config check` says whether all is well, `mirror config schema` what there is
    --- exit 2
    "#);
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    let sandbox = Sandbox::directory();
    let left = sandbox
        .mirror_program()
        .args(["init"])
        .env("MIRROR_HOOKS_MODE", "maybe")
        .run();
    assert_left!(left, @r#"
    $ mirror init
    --- stderr
    Error: Invalid value in the environment variable MIRROR_HOOKS_MODE: expected "block" or "warn", and not "maybe"
    Hint: Mend it, or `unset MIRROR_HOOKS_MODE`
    --- exit 2
    "#);
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let sandbox = Sandbox::directory();
    assert!(!sandbox.mirror(["commit"]).stderr().contains('\u{1b}'));
    let asked = sandbox.mirror(["--color", "always", "commit"]);
    assert!(asked.stderr().starts_with("\u{1b}[1m\u{1b}[31mError:"), "{asked}");
}
