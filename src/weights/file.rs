//! A model file, opened: read into memory within a bound, hashed, and validated down to the last number.

use super::container::{Container, Dtype, TensorView};
use super::names::TensorSource;
use super::{Norm, Weights, quant};
use crate::model::json::printable;
use crate::model::{Config, Network, Quantisation};
use crate::{Error, ErrorKind, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest model file read; DenseNet-201 in float32 has 0.08 GB.
const LARGEST_FILE: u64 = 1 << 30;

/// A model: what its file says, validated. Immutable; engines share it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The configuration.
    pub config: Config,
    /// The steps that follow from it.
    pub network: Network,
    /// Every tensor.
    pub weights: Weights,
    /// Ranges of 8-bit codes; none in a file of format 1.
    pub quantisation: Option<Quantisation>,
    /// `radnet.name`, empty when the file does not say.
    pub name: String,
    /// `radnet.version`, empty when the file does not say.
    pub version: String,
    /// `radnet.intended_use`, empty when the file does not say.
    pub intended_use: String,
    /// `radnet.calibration`, empty when the model was never calibrated.
    pub calibration: String,
    /// `radnet.quantisation`: where the ranges come from; empty when the file does not say.
    pub quantisation_record: String,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// The file, unless the model came from memory.
    pub path: Option<PathBuf>,
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// `io` when it cannot be read, `too_large` beyond 1 GiB, else as [`Model::from_bytes`]; with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut model = read_bounded(path).and_then(|bytes| Self::from_bytes(&bytes)).map_err(|e| e.in_file(path))?;
        model.path = Some(path.to_owned());
        Ok(model)
    }

    /// The bytes of a model file.
    ///
    /// # Errors
    /// `io` when it cannot be read, `too_large` beyond 1 GiB; with the path.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        read_bounded(path).map_err(|e| e.in_file(path))
    }

    /// Reads a model from the bytes of its file, in parallel when called from a thread of a pool (`pool.install(…)`).
    ///
    /// # Errors
    /// `bad_model`, naming the tensor or key and the value: a malformed container, an unknown format, a configuration out of range,
    /// a tensor that is missing, unknown, of another shape or type than the configuration asks for, or not a usable number.
    pub fn from_bytes(file: &[u8]) -> Result<Self> {
        let Container { mut metadata, tensors } = Container::parse(file)?;
        let quantised = match metadata.get("radnet.format").map(String::as_str) {
            Some("1") => false,
            Some("2") => true,
            Some(other) => return Err(bad(format!("radnet.format is \"{}\"; this version reads 1 and 2", printable(other)))),
            None => return Err(bad("not a RADnet model: `__metadata__` has no `radnet.format`")),
        };
        let config = metadata.get("radnet.config").ok_or_else(|| bad("`__metadata__` has no `radnet.config`"))?;
        let config = Config::from_json(config)?;
        let network = Network::new(&config)?;
        let (read, sha256) = both(|| read_tensors(&network, tensors, quantised), || hex(&Sha256::digest(file)));
        let (weights, quantisation) = read?;
        check_norms(&weights, &network)?;
        let mut text = |key: &str| metadata.remove(key).unwrap_or_default();
        Ok(Self {
            name: text("radnet.name"),
            version: text("radnet.version"),
            intended_use: text("radnet.intended_use"),
            calibration: text("radnet.calibration"),
            quantisation_record: text("radnet.quantisation"),
            quantisation,
            config,
            network,
            weights,
            sha256,
            path: None,
        })
    }
}

/// Reads a regular file; a pipe or a device could block or never end.
fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let io = |e| Error::io(path, e);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::new(ErrorKind::Io, "not a regular file"));
    }
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let capacity = usize::try_from(length).ok().filter(|_| length <= LARGEST_FILE).ok_or_else(|| {
        Error::new(ErrorKind::TooLarge, format!("the file has {length} bytes; models of at most {LARGEST_FILE} are read"))
    })?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(capacity + 1)
        .map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("no memory for the {length} bytes of the file")).caused_by(e))?;
    // One byte more shows a file that grew.
    file.take(length + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() != capacity {
        return Err(Error::new(ErrorKind::Io, format!("the file of {length} bytes changed while it was read")));
    }
    Ok(bytes)
}

/// Whether the caller runs on a pool that has more threads than its own.
fn on_pool() -> bool {
    rayon::current_thread_index().is_some() && rayon::current_num_threads() > 1
}

/// Both at once on the current pool, else one after the other.
fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if on_pool() { rayon::join(a, b) } else { (a(), b()) }
}

/// Every tensor of the network, and the ranges of its codes where the file has them.
fn read_tensors(network: &Network, tensors: BTreeMap<String, TensorView<'_>>, quantised: bool) -> Result<(Weights, Option<Quantisation>)> {
    let mut source = FileSource { ahead: ahead(network, &tensors)?, tensors };
    let weights = Weights::collect(network, &mut source)?;
    let has_ranges = quantised && source.tensors.keys().any(|name| name.starts_with(quant::OURS));
    let quantisation = if has_ranges { Some(quant::read(network, &mut source)?) } else { None };
    source.finish(quantised && !has_ranges)?;
    Ok((weights, quantisation))
}

/// On a pool, the values of all tensors that the network will ask for, read in parallel; else none.
fn ahead(network: &Network, tensors: &BTreeMap<String, TensorView<'_>>) -> Result<BTreeMap<String, Result<Vec<f32>>>> {
    if !on_pool() {
        return Ok(BTreeMap::new());
    }
    let wanted: Vec<(String, &TensorView<'_>)> = Weights::wanted(network)?
        .into_iter()
        .filter_map(|(name, shape)| tensors.get(&name).filter(|view| view.shape == shape).map(|view| (name, view)))
        .collect();
    Ok(wanted.into_par_iter().map(|(name, view)| (name.clone(), values(&name, view))).collect())
}

/// Hands out the tensors of a file, each once.
struct FileSource<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    /// Values that were read before they were asked for.
    ahead: BTreeMap<String, Result<Vec<f32>>>,
}

impl TensorSource for FileSource<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self.tensors.remove(name).ok_or_else(|| bad(format!("tensor `{name}` is missing")))?;
        if view.shape != shape {
            return Err(bad(format!("tensor `{name}` has the shape {:?}; the configuration asks for {shape:?}", view.shape)));
        }
        self.ahead.remove(name).unwrap_or_else(|| values(name, &view))
    }
}

impl FileSource<'_> {
    /// Whatever is left is not part of the network; only another program's quantisation data may be there, where the format has such.
    fn finish(self, foreign: bool) -> Result<()> {
        match self.tensors.keys().find(|name| !(foreign && name.starts_with(quant::PREFIX))) {
            Some(name) => Err(bad(format!("tensor `{}` is not part of the configured network", printable(name)))),
            None => Ok(()),
        }
    }
}

/// The elements of a tensor, each a number that can be used.
fn values(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let values = widen(name, view)?;
    // Without a way out of the loop it is a loop of vectors; which element it was is asked only when there is one.
    let finite = values.iter().fold(true, |all, v| all & v.is_finite());
    if !finite && let Some((i, value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(bad(format!("tensor `{name}` has the value {value} at index {i}")));
    }
    if name.ends_with(".running_var")
        && let Some((i, value)) = values.iter().enumerate().find(|(_, v)| **v < 0.0)
    {
        return Err(bad(format!("tensor `{name}` has the negative variance {value} at index {i}")));
    }
    Ok(values)
}

/// Halves that are widened at a time: the vector instructions for it want them aligned, which a file does not promise.
const HALVES: usize = 1024;

fn widen(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let (pairs, quads) = (view.bytes.as_chunks::<2>().0, view.bytes.as_chunks::<4>().0);
    match view.dtype {
        Dtype::F32 => Ok(quads.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => {
            let mut values = vec![0.0; pairs.len()];
            let mut halves = [f16::ZERO; HALVES];
            for (values, pairs) in values.chunks_mut(HALVES).zip(pairs.chunks(HALVES)) {
                let halves = &mut halves[..pairs.len()];
                halves.iter_mut().zip(pairs).for_each(|(half, bytes)| *half = f16::from_le_bytes(*bytes));
                halves.convert_to_f32_slice(values);
            }
            Ok(values)
        }
        Dtype::BF16 => Ok(pairs.iter().map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)).collect()),
        other => Err(bad(format!("tensor `{name}` has the type {}, not F32, F16 or BF16", other.name()))),
    }
}

/// Each norm, written as scale and shift, must fit float32: a tiny variance under a large weight would turn finite tensors infinite.
fn check_norms(weights: &Weights, network: &Network) -> Result<()> {
    let check = |name: &str, norm: &Norm| {
        let (scale, shift) = norm.scale_shift(network.bn_eps);
        let fits = |v: &f64| v.abs() <= f64::from(f32::MAX);
        match scale.iter().zip(&shift).position(|(scale, shift)| !(fits(scale) && fits(shift))) {
            Some(i) => Err(bad(format!("norm `{name}` maps x to {:e}·x + {:e} in channel {i}, beyond float32", scale[i], shift[i]))),
            None => Ok(()),
        }
    };
    check("features.norm0", &weights.norm0)?;
    check("features.norm5", &weights.norm5)?;
    for (b, block) in weights.blocks.iter().enumerate() {
        let block_number = b + 1;
        for (l, layer) in block.layers.iter().enumerate() {
            let name = format!("features.denseblock{block_number}.denselayer{}", l + 1);
            check(&format!("{name}.norm1"), &layer.norm1)?;
            check(&format!("{name}.norm2"), &layer.norm2)?;
        }
        if let Some(head) = &block.segmentation {
            check(&format!("segmentation.{block_number}.norm"), &head.norm)?;
        }
        if let Some(transition) = &block.transition {
            check(&format!("features.transition{block_number}.norm"), &transition.norm)?;
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        // Writing to a String does not fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
