//! A model's directory in the cache: links to objects, by which it is read back.
//!
//! Links and not copies, so that an object that several versions share is there once, and a version
//! whose files stay what they are is not loaded again when another one comes.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::plan::Tree;
use crate::digest::Digest;

/// What tells a tree from others of its model.
pub fn id(tree: &Tree) -> String {
    let text: String = tree.iter().map(|(file, digest)| format!("{digest} {file}\n")).collect();
    Digest::of(text.as_bytes()).short()
}

/// Makes the directory. `to_objects` leads from it to the objects.
pub fn write(dir: &Path, tree: &Tree, to_objects: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    for (file, digest) in tree {
        let path = dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let up: PathBuf = file.split('/').skip(1).map(|_| "..").collect();
        symlink(up.join(to_objects).join(digest.to_string()), path)?;
    }
    sync(dir)
}

/// What was written; an error if it is anything else, or leads to nothing.
pub fn read(dir: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    walk(dir, "", &mut tree)?;
    Ok(tree)
}

fn walk(dir: &Path, at: &str, tree: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let odd = || io::Error::other(format!("{} is not ours", entry.path().display()));
        let name = entry.file_name().into_string().map_err(|_| odd())?;
        let file = if at.is_empty() { name } else { format!("{at}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &file, tree)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            let digest = target.file_name().and_then(|name| name.to_str()?.parse().ok());
            fs::metadata(entry.path())?;
            tree.insert(file, digest.ok_or_else(odd)?);
        } else {
            return Err(odd());
        }
    }
    Ok(())
}

/// Has the disk keep a directory's entries, and those of the directories in it.
fn sync(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    fs::File::open(dir)?.sync_all()
}
