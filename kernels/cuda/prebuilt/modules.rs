// Made by `cargo xtask cuda`.
&[
]
