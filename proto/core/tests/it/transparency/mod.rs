//! The transparency log: against its own rules, against published vectors, and against programs that others wrote.

mod audit;
mod checkpoint;
mod entries;
mod forest;
mod given;
mod go;
mod note;
mod proof;
mod rust;
mod tiles;
mod tree;
