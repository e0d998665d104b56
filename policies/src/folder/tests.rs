//! A folder on a real disk, with what people and mounts put into it.

use super::{BYTES_MAX, DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, FolderError, read};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        write(folder.path(), path, bytes);
    }
    folder
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn paths(folder: &Path) -> Result<Vec<String>, FolderError> {
    Ok(read(folder)?.into_iter().map(|file| file.path).collect())
}

#[test]
fn files_come_sorted_and_hidden_ones_stay_where_they_are() {
    let folder = folder(&[
        ("tools.yaml", b"t"),
        ("rego/b.rego", b"b"),
        ("rego/a.rego", b"a"),
        ("rego/.a.rego.swp", b"x"),
        (".git/config", b"x"),
        ("cases/a.yaml", b"c"),
    ]);
    assert_eq!(paths(folder.path()).unwrap(), ["cases/a.yaml", "rego/a.rego", "rego/b.rego", "tools.yaml"]);
    assert_eq!(read(folder.path()).unwrap()[1].bytes, b"a");
}

#[test]
fn links_are_followed_inside_the_folder_only() {
    // As a mounted volume lays it out.
    let mounted = folder(&[("..2026/rego/a.rego", b"a"), ("..2026/tools.yaml", b"t")]);
    symlink("..2026", mounted.path().join("..data")).unwrap();
    symlink("..data/rego", mounted.path().join("rego")).unwrap();
    symlink("..data/tools.yaml", mounted.path().join("tools.yaml")).unwrap();
    assert_eq!(paths(mounted.path()).unwrap(), ["rego/a.rego", "tools.yaml"]);

    let outside = folder(&[("secret", b"s")]);
    for target in [outside.path().join("secret"), outside.path().to_path_buf()] {
        let folder = folder(&[("tools.yaml", b"t")]);
        symlink(target, folder.path().join("rego")).unwrap();
        assert!(matches!(paths(folder.path()), Err(FolderError::Outside { path }) if path == "rego"));
    }
    let dangling = folder(&[]);
    symlink("nowhere", dangling.path().join("tools.yaml")).unwrap();
    assert!(matches!(paths(dangling.path()), Err(FolderError::Io { .. })));
    let turning = folder(&[]);
    symlink(".", turning.path().join("rego")).unwrap();
    assert!(matches!(paths(turning.path()), Err(FolderError::Depth { .. })));
}

#[test]
fn names_are_plain() {
    for name in ["a b.rego", "a\nb", "ä.rego", "a~", "a\u{202e}b"] {
        assert!(matches!(paths(folder(&[(name, b"")]).path()), Err(FolderError::Name { .. })), "{name:?}");
    }
}

#[test]
fn a_folder_is_bounded_on_both_sides() {
    let many = |files: usize| {
        let folder = folder(&[]);
        (0..files).for_each(|n| write(folder.path(), &format!("cases/{n}.yaml"), b""));
        paths(folder.path())
    };
    assert_eq!(many(FILES_MAX).unwrap().len(), FILES_MAX);
    assert!(matches!(many(FILES_MAX + 1), Err(FolderError::Files)));

    let long = |bytes: usize| paths(folder(&[("tools.yaml", &vec![b'#'; bytes])]).path());
    assert!(long(FILE_BYTES_MAX).is_ok());
    assert!(matches!(long(FILE_BYTES_MAX + 1), Err(FolderError::FileBytes { .. })));

    let heavy = |last: usize| {
        let full = vec![b'#'; FILE_BYTES_MAX];
        let files: Vec<_> = ["a", "b", "c", "d"].into_iter().map(|name| (name, full.as_slice())).collect();
        assert_eq!(files.len() * FILE_BYTES_MAX, BYTES_MAX);
        paths(folder(&[files, vec![("e", vec![b'#'; last].as_slice())]].concat()).path())
    };
    assert!(heavy(0).is_ok());
    assert!(matches!(heavy(1), Err(FolderError::Bytes)));

    let deep = |depth: usize| paths(folder(&[(&format!("{}a", "d/".repeat(depth)), b"")]).path());
    assert!(deep(DEPTH_MAX).is_ok());
    assert!(matches!(deep(DEPTH_MAX + 1), Err(FolderError::Depth { .. })));
}

#[test]
fn what_is_not_there_is_named() {
    let error = read(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nowhere/at/all`");
}

#[test]
fn what_is_neither_file_nor_folder_is_refused() {
    let folder = folder(&[]);
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket"));
    assert!(socket.is_ok() && matches!(paths(folder.path()), Err(FolderError::Kind { .. })));
}
