//! The golden set: small models of every kind with what PyTorch's float64 makes of them (`tests/golden`).

mod backends;
mod bf16;
mod cuda;
mod fixture;
mod int8;
mod reference;
