//! A place of its own for each test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::program::{Finished, Program};

/// The user's git configuration, as both git and libgit2 find it.
const GIT_CONFIG: &str = "\
[user]
	name = Test User
	email = test@example.com
[init]
	defaultBranch = main
[commit]
	gpgSign = false
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
[protocol \"file\"]
	allow = always
";

/// What the library needs to know when a test calls it in this process, where the sandbox's home is not the home.
const LOCAL_CONFIG: [(&str, &str); 6] = [
    ("user.name", "Test User"),
    ("user.email", "test@example.com"),
    ("commit.gpgSign", "false"),
    ("core.autocrlf", "false"),
    ("core.excludesFile", ""),
    ("core.attributesFile", ""),
];

/// A temporary directory with a home, a working directory, and programs that know of nothing else. Removed on drop.
pub(crate) struct Sandbox {
    directory: Place,
    /// What programs are told about the machine's boot; `None` is the truth.
    boot: Option<String>,
}

/// Where a sandbox lies.
enum Place {
    /// In a directory that is removed with it.
    Temporary(TempDir),
    /// Somewhere else.
    Given(PathBuf),
}

impl Sandbox {
    /// A directory without git.
    pub(crate) fn directory() -> Self {
        let directory = tempfile::Builder::new().prefix("mirror-").tempdir().unwrap();
        let sandbox = Self {
            directory: Place::Temporary(directory),
            boot: None,
        };
        fs::create_dir(sandbox.home()).unwrap();
        fs::create_dir(sandbox.root()).unwrap();
        fs::write(sandbox.git_config(), GIT_CONFIG).unwrap();
        sandbox
    }

    /// A sandbox that is there already, such as a copy of another. It stays.
    pub(crate) fn over(directory: &Path) -> Self {
        Self {
            directory: Place::Given(directory.to_owned()),
            boot: None,
        }
    }

    /// As if the machine had been started anew.
    pub(crate) fn rebooted(self) -> Self {
        let boot = Some("00000000-0000-4000-8000-000000000b00".to_owned());
        Self { boot, ..self }
    }

    /// A git repository on the branch `main`, without a commit.
    pub(crate) fn unborn() -> Self {
        let sandbox = Self::directory();
        sandbox.git(["init", "--quiet", "."]);
        for (key, value) in LOCAL_CONFIG {
            sandbox.git(["config", key, value]);
        }
        sandbox
    }

    /// A git repository on the branch `main` with one commit that holds `files`, each a path and its content.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> Self {
        let sandbox = Self::unborn();
        for (path, content) in files {
            sandbox.write(path, content);
        }
        sandbox.commit_all("first");
        sandbox
    }

    /// A git repository on the branch `main` with one commit that holds one file, `README`.
    pub(crate) fn repository() -> Self {
        Self::with_files(&[("README", "hello\n")])
    }

    /// Returns the working directory: the root of the repository where there is one. It has no symlink in it.
    pub(crate) fn root(&self) -> PathBuf {
        self.top().join("root")
    }

    /// Returns the home directory.
    pub(crate) fn home(&self) -> PathBuf {
        self.top().join("home")
    }

    /// Returns a place beside the working directory, for second clones, linked worktrees and the like.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.top().join(name)
    }

    /// Returns the user's git configuration file.
    pub(crate) fn git_config(&self) -> PathBuf {
        self.home().join(".gitconfig")
    }

    /// Returns a path below the working directory.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a file, and the directories that it needs.
    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a file that can be executed.
    pub(crate) fn write_executable(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        self.write(&path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Reads a file as text.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Tells whether something has this name, be it a dangling symlink.
    pub(crate) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Prepares to run `program` in the working directory.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Program {
        let program = Program::new(program.as_ref(), &self.top(), &self.root());
        match &self.boot {
            Some(boot) => program.env("MIRROR_TEST_BOOT_ID", boot),
            None => program,
        }
    }

    /// Prepares to run the binary under test.
    pub(crate) fn mirror_program(&self) -> Program {
        self.program(env!("CARGO_BIN_EXE_mirror"))
    }

    /// Runs the binary under test.
    pub(crate) fn mirror<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Finished {
        self.mirror_program().args(arguments).run()
    }

    /// Stages what a path shall hold, which has to succeed.
    pub(crate) fn stage(&self, task: &str, path: &str, content: impl Into<Vec<u8>>) {
        let staging = self.mirror_program().args(["stage", "-t", task, path]);
        staging.input(content).run().succeeded();
    }

    /// Prepares to run a program in name spaces of its own, such as `--mount`. Where there can be none, `unshare: ` is in what it prints.
    pub(crate) fn apart(&self, spaces: &[&str]) -> Program {
        let is_root = rustix::process::geteuid().is_root();
        let user: &[&str] = if is_root {
            &[]
        } else {
            &["--user", "--map-root-user"]
        };
        self.program("unshare").args(user).args(spaces)
    }

    /// Runs git, which has to succeed, and returns what it printed without the last line end.
    pub(crate) fn git<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        self.try_git(arguments)
            .succeeded()
            .stdout()
            .trim_end_matches('\n')
            .to_owned()
    }

    /// Runs git.
    pub(crate) fn try_git<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Finished {
        self.program("git").args(arguments).run()
    }

    /// Runs a shell script, which has to succeed, and returns what it printed.
    pub(crate) fn shell(&self, script: &str) -> String {
        self.program("sh")
            .args(["-euc", script])
            .run()
            .succeeded()
            .stdout()
    }

    /// Commits everything in the working tree and returns the commit's id.
    pub(crate) fn commit_all(&self, message: &str) -> String {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--no-verify", "--allow-empty", "-m", message]);
        self.git(["rev-parse", "HEAD"])
    }

    /// The temporary directory, with its symlinks resolved: on some systems the usual place is one.
    fn top(&self) -> PathBuf {
        let directory = match &self.directory {
            Place::Temporary(directory) => directory.path(),
            Place::Given(directory) => directory,
        };
        directory.canonicalize().unwrap()
    }
}
