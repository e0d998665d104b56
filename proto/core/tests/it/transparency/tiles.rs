//! Tiles: their paths, what changes, and what is read from them.

use super::forest::{Forest, Missing, Slow};
use agentgate_core::transparency::bundle::Bundle;
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::tile::{Tile, TileError, Tiles};
use agentgate_core::transparency::tree::{Frontier, Node, Nodes, SIZE_MAX};

#[test]
fn a_tile_has_one_path() {
    for (level, index, size, path) in [
        (0, 0, 1, "tile/0/000.p/1"),
        (0, 0, 255, "tile/0/000.p/255"),
        (0, 0, 256, "tile/0/000"),
        (1, 0, 256, "tile/1/000.p/1"),
        // The example of the specification.
        (0, 273, 70_000, "tile/0/273.p/112"),
        (1, 1, 70_000, "tile/1/001.p/17"),
        (2, 0, 70_000, "tile/2/000.p/1"),
        (0, 999, 1 << 20, "tile/0/999"),
        (0, 1_000, 1 << 20, "tile/0/x001/000"),
        (0, 1_234_067, 1 << 40, "tile/0/x001/x234/067"),
        (7, 0, SIZE_MAX, "tile/7/000.p/127"),
        (0, (1 << 55) - 1, SIZE_MAX, "tile/0/x036/x028/x797/x018/x963/967.p/255"),
    ] {
        let tile = Tile::at(level, index, size);
        assert_eq!(tile.map(|tile| tile.path()).as_deref(), Some(path));
        assert_eq!(Tile::parse(path), tile);
    }
}

#[test]
fn what_is_no_path_of_a_tile_is_none() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/x1/000",
        "tile/0/x001/x000",
        "tile/00/000",
        "tile/+0/000",
        "tile/0/+00",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/8/000.p/1",
        "tile/8/000",
        "tile/7/000.p/128",
        "tile/7/000",
        "tile/-1/000",
        "tile/entries/000",
        "/tile/0/000",
        "tile/0/000 ",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x036/x028/x797/x018/x963/967",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
        let entries = path.replacen("tile/0", "tile/entries", 1);
        assert!(entries == path || Bundle::parse(&entries).is_none(), "{entries}");
    }
    for (path, size) in [("tile/entries/000.p/7", 7), ("tile/entries/001", 512)] {
        let bundle = Bundle::parse(path).unwrap();
        assert_eq!((bundle.path().as_str(), Bundle::at(bundle.index(), size)), (path, Some(bundle)));
    }
    assert_eq!(Tile::at(0, 1, 256), None);
    assert_eq!(Tile::at(8, 0, SIZE_MAX), None);
    assert_eq!(Tile::at(0, u64::MAX, SIZE_MAX), None);
}

#[test]
fn what_changes_is_written_and_nothing_else() {
    let sizes = [0, 1, 2, 255, 256, 257, 511, 512, 513, 1_000, 65_535, 65_536, 65_537, 70_000];
    for (old, new) in sizes.iter().flat_map(|old| sizes.iter().map(move |new| (*old, *new))).filter(|(old, new)| old < new) {
        // The hashes of a level are changed where there are more of them, from the tile of the first new one on.
        let mut wanted = Vec::new();
        for level in 0..3 {
            let (from, to) = (old / 256_u64.pow(level), new / 256_u64.pow(level));
            let touched = (from..to).map(|hash| hash / 256);
            let mut tiles: Vec<_> =
                touched.map(|index| format!("tile/{level}/{index:03}.p/{}", (to - index * 256).min(256))).collect();
            tiles.dedup();
            wanted.extend(tiles.iter().map(|path| path.replace(".p/256", "")));
        }
        let changed: Vec<_> = Tile::changed(old, new).map(|tile| tile.path()).collect();
        assert_eq!(changed, wanted, "{old} {new}");
        let entries: Vec<_> = Bundle::changed(old, new).map(|bundle| bundle.path().replace("entries", "0")).collect();
        assert_eq!(entries, wanted.into_iter().filter(|path| path.starts_with("tile/0/")).collect::<Vec<_>>());
    }
    assert_eq!(Tile::changed(7, 7).chain(Tile::changed(8, 7)).chain(Tile::changed(0, 0)).count(), 0);
}

#[test]
fn a_tree_is_read_from_its_tiles_as_from_its_leaves() {
    let mut forest = Forest::of(0);
    for size in [1, 2, 3, 200, 256, 300, 513, 1_000] {
        let before = forest.edge.size();
        let written = forest.files.len();
        forest.grow(size);
        assert!(Tile::changed(before, size).all(|tile| forest.files.contains_key(&tile.path())));
        assert_eq!(forest.files.len() - written, Tile::changed(before, size).count());

        let leaves = forest.leaves();
        let tiles = Tiles::new(size, |tile| forest.fetch(tile));
        for node in (0..10).flat_map(|level| (0..size >> level).map(move |index| Node { level, index })) {
            assert_eq!(tiles.node(node), Ok(Slow(&leaves).node(node).unwrap()), "{node:?}");
        }
        let edge = Edge::read(size, |tile| forest.fetch(tile));
        assert_eq!(edge.as_ref(), Ok(&forest.edge));
        assert_eq!(forest.edge.frontier(), Frontier::read(size, &Slow(&leaves)).unwrap());
        for outside in [Node { level: 0, index: size }, Node { level: 10, index: 0 }, Node { level: 255, index: 0 }] {
            assert_eq!(tiles.node(outside), Err(TileError::Outside { node: outside, size }));
        }
    }
}

#[test]
fn a_tile_of_another_length_is_refused() {
    let node = Node { level: 0, index: 3 };
    for (found, wanted) in [(0, false), (159, false), (160, true), (161, false), (192, false)] {
        let read = Tiles::new(5, |_| Ok::<_, Missing>(vec![1; found])).node(node);
        let path = "tile/0/000.p/5".to_owned();
        assert_eq!(read.is_ok(), wanted);
        assert!(wanted || read == Err(TileError::Length { path, found, wanted: 160 }));
    }
    let missing = Forest::of(4);
    let path = "tile/0/000.p/5".to_owned();
    let source = missing.fetch(Tile::at(0, 0, 5).unwrap()).unwrap_err();
    assert_eq!(Edge::read(5, |tile| missing.fetch(tile)), Err(TileError::Fetch { path, source }));
}
