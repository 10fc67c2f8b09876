//! The programs as their users meet them: exit status, what goes to which stream, documents, files, and every kind of bad input.

mod bench;
mod inspect;
mod outputs;
mod predict;
mod refusals;
mod scene;
mod streams;
