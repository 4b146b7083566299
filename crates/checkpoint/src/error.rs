//! What can be wrong with a checkpoint.

use std::fmt;
use std::path::PathBuf;

/// Why a checkpoint was refused. A cause is in the error's source, not in its message too. Each variant names the file; where a check can fail in several
/// places, all of them are named at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a file.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A folder was named that is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// What was named.
        path: PathBuf,
    },
    /// A folder, pipe or device lies where a file is needed.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What lies there.
        path: PathBuf,
    },
    /// A JSON file is larger than any real one.
    #[error("{} has {bytes} bytes, at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A JSON file is malformed.
    #[error("{}: malformed", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A safetensors file is malformed.
    #[error("{}: not a well-formed safetensors file", file.display())]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: SafetensorsError,
    },
    /// A file of PyTorch's is malformed or holds more than a state dict.
    #[error("{}: not a file of tensors that can be read", file.display())]
    Torch {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: TorchError,
    },
    /// An index does not fit its shards.
    #[error("{} does not fit its shards:{}", index.display(), List(problems))]
    Index {
        /// The index.
        index: PathBuf,
        /// Everything that does not fit.
        problems: Vec<IndexProblem>,
    },
    /// Configuration that is absurd, contradicts itself or asks for something unsupported.
    #[error("the configuration cannot be used:{}", List(problems))]
    Config {
        /// Everything that is wrong.
        problems: Vec<ConfigProblem>,
    },
    /// The checkpoint lacks whole parts.
    #[error("the checkpoint is not complete:{}", List(parts))]
    MissingParts {
        /// Every missing part.
        parts: Vec<MissingPart>,
    },
    /// Tensors do not fit the configuration.
    #[error("the tensors do not fit the configuration: {0}")]
    Tensors(TensorProblems),
}

/// Shows each item on a line of its own, of long lists the first.
struct List<'a, T>(&'a [T]);

/// Items of one kind that a message shows.
const SHOWN: usize = 20;

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in self.0.iter().take(SHOWN) {
            write!(f, "\n  {item}")?;
        }
        more(f, self.0.len())
    }
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(SHOWN) {
        Some(more) if more > 0 => write!(f, "\n  ... and {} more", Thousands(more)),
        _ => Ok(()),
    }
}

struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Why a safetensors file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Too short for the header's length.
    #[error("has {size} bytes, a safetensors file begins with an 8-byte length")]
    NoHeader {
        /// Bytes of the file.
        size: usize,
    },
    /// A header of absurd length.
    #[error("claims a header of {length} bytes, at most {limit} are allowed")]
    HeaderTooLarge {
        /// Bytes claimed.
        length: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The file ends in the header.
    #[error("is truncated: its header has {length} bytes, the whole file {size}")]
    HeaderCut {
        /// Bytes claimed.
        length: u64,
        /// Bytes of the file.
        size: usize,
    },
    /// The header is no JSON of the expected form, or names a tensor twice.
    #[error("the header is malformed")]
    Json(#[from] serde_json::Error),
    /// An element type that nobody knows.
    #[error("tensor `{name}` has the unknown type `{dtype}`")]
    UnknownDtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// Offsets that do not fit shape and type.
    #[error("tensor `{name}` of {dtype} {shape:?} cannot have the bytes {start} to {end}")]
    WrongLength {
        /// The tensor.
        name: String,
        /// First byte, from the header's end.
        start: usize,
        /// One past the last byte.
        end: usize,
        /// Its type.
        dtype: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The file ends before a tensor does.
    #[error("is truncated: tensor `{name}` ends at byte {end}, the file at {size}")]
    Truncated {
        /// The tensor.
        name: String,
        /// One past its last byte.
        end: usize,
        /// Bytes of the file.
        size: usize,
    },
    /// Two tensors overlap, or there is a gap between them.
    #[error(
        "tensor `{name}` begins at byte {start}, {} where {previous} ends at {covered}",
        if start < covered { "an overlap" } else { "a gap" }
    )]
    NotContiguous {
        /// The tensor.
        name: String,
        /// Its first byte.
        start: usize,
        /// What lies before it.
        previous: String,
        /// Where that ends.
        covered: usize,
    },
    /// Bytes after the last tensor.
    #[error("the last tensor ends at byte {covered}, the file at {size}")]
    Trailing {
        /// Where the last tensor ends.
        covered: usize,
        /// Bytes of the file.
        size: usize,
    },
}

/// Why a file that `torch.save` may have written was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// Written by PyTorch before 1.6.
    #[error(
        "is in PyTorch's format of before version 1.6, which is not supported; convert it with \
         torch.save(torch.load(path, map_location='cpu', weights_only=True), path)"
    )]
    Legacy,
    /// Something else.
    #[error("is not a file of torch.save: it is no zip archive")]
    NotZip,
    /// The archive is malformed.
    #[error("the archive is malformed")]
    Zip(#[from] ZipError),
    /// No description of the tensors.
    #[error("is not a file of torch.save: the archive has no `data.pkl`")]
    NoPickle,
    /// Two descriptions of tensors.
    #[error("the archive has both `{first}/data.pkl` and `{second}/data.pkl`")]
    TwoPickles {
        /// Folder of one.
        first: String,
        /// Folder of the other.
        second: String,
    },
    /// Written on a big-endian machine.
    #[error("was written on a big-endian machine, which is not supported")]
    BigEndian,
    /// `data.pkl` is larger than any real one.
    #[error("`data.pkl` has {bytes} bytes, at most {limit} are read")]
    PickleTooLarge {
        /// Its bytes.
        bytes: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// The pickle is malformed or holds more than a state dict.
    #[error("`data.pkl` is refused")]
    Pickle(#[from] PickleError),
    /// A tensor's storage is not in the archive.
    #[error("tensor `{name}`: the archive has no `data/{key}`")]
    NoStorage {
        /// The tensor.
        name: String,
        /// Its storage.
        key: String,
    },
    /// A tensor lies beyond its storage.
    #[error(
        "tensor `{name}` of {dtype} {shape:?} from element {offset} on lies beyond its storage of \
         {storage_bytes} bytes"
    )]
    BeyondStorage {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its type.
        dtype: &'static str,
        /// First element.
        offset: usize,
        /// Bytes of the storage.
        storage_bytes: usize,
    },
    /// A transposed or strided tensor.
    #[error(
        "tensor `{name}` of {shape:?} has the strides {stride:?}; only contiguous tensors are \
         supported, save it after .contiguous()"
    )]
    Strided {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in elements.
        stride: Vec<usize>,
    },
}

/// Why a zip archive was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// No end record: not an archive, or truncated.
    #[error("no end record in {size} bytes; the file is truncated")]
    NoEnd {
        /// Bytes of the file.
        size: usize,
    },
    /// A record that is not where it should be.
    #[error("the {what} at byte {offset} is cut or malformed")]
    Cut {
        /// The record.
        what: &'static str,
        /// Where it should be.
        offset: u64,
    },
    /// Too many entries.
    #[error("{count} entries, at most {limit} are read")]
    TooManyEntries {
        /// Entries claimed.
        count: u64,
        /// Entries allowed.
        limit: u64,
    },
    /// Two entries of a name.
    #[error("the entry `{name}` is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name that is not UTF-8.
    #[error("the entry `{name}` has a name that is not UTF-8")]
    BadName {
        /// The name, as far as it can be shown.
        name: String,
    },
    /// An encrypted entry.
    #[error("the entry `{name}` is encrypted, which torch.save never does")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// A compressed entry.
    #[error("the entry `{name}` is compressed (method {method}), which torch.save never does")]
    Compressed {
        /// The entry.
        name: String,
        /// The zip specification's number for the method.
        method: u16,
    },
    /// An entry's bytes are not all in the file.
    #[error("the entry `{name}` at byte {offset} of {size} bytes goes beyond the file")]
    EntryCut {
        /// The entry.
        name: String,
        /// Where its header begins.
        offset: u64,
        /// Its bytes.
        size: u64,
    },
    /// An entry that the directory has and the archive has not.
    #[error("the entry `{name}` has no header at byte {offset}")]
    NoLocalHeader {
        /// The entry.
        name: String,
        /// Where its header should begin.
        offset: u64,
    },
}

/// Why a pickle was refused. Offsets are bytes of `data.pkl`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// A function or class that a state dict does not need.
    #[error(
        "refers to `{name}` at byte {offset}, which a dict of tensors does not need; nothing was \
         executed"
    )]
    Global {
        /// `module.name`.
        name: String,
        /// Where.
        offset: usize,
    },
    /// An operation that a state dict does not need.
    #[error(
        "operation {name} (0x{code:02x}) at byte {offset}, which a dict of tensors does not need"
    )]
    Opcode {
        /// Its code.
        code: u8,
        /// Its name.
        name: &'static str,
        /// Where.
        offset: usize,
    },
    /// Not `torch.save`'s protocol.
    #[error("is written in protocol {version}; torch.save writes 2 by default")]
    Protocol {
        /// The protocol.
        version: u8,
    },
    /// The pickle ends in an operation.
    #[error("is truncated in the operation at byte {offset}")]
    Cut {
        /// Where.
        offset: usize,
    },
    /// Too few values for an operation.
    #[error("too few values for the operation at byte {offset}")]
    StackEmpty {
        /// Where.
        offset: usize,
    },
    /// A memo slot that was never filled.
    #[error("memo {key} is not set at byte {offset}")]
    NoMemo {
        /// The slot.
        key: u32,
        /// Where.
        offset: usize,
    },
    /// A string that is not UTF-8.
    #[error("a string at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// An int of more than 64 bits.
    #[error("an int at byte {offset} has more than 64 bits")]
    IntTooLarge {
        /// Where.
        offset: usize,
    },
    /// An operation got another kind of value.
    #[error("{want} is needed at byte {offset}, there is {found}")]
    Operand {
        /// What the operation needs.
        want: &'static str,
        /// What there is.
        found: &'static str,
        /// Where.
        offset: usize,
    },
    /// A persistent id that names no storage.
    #[error("the persistent id at byte {offset} does not name a storage of a known type")]
    PersistentId {
        /// Where.
        offset: usize,
    },
    /// Arguments that do not describe a tensor.
    #[error("the arguments at byte {offset} do not describe a tensor or an empty dict")]
    Arguments {
        /// Where.
        offset: usize,
    },
    /// The pickle is something else than a dict.
    #[error("is {found}, not a dict of tensors")]
    NotADict {
        /// What it is.
        found: &'static str,
    },
    /// A key that is no string.
    #[error("has {found} where a tensor's name should be")]
    NameNotAString {
        /// What the key is.
        found: &'static str,
    },
    /// A member that is no tensor.
    #[error("`{name}` is {found}, not a tensor")]
    NotATensor {
        /// The member.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// Two tensors of a name.
    #[error("has the tensor `{name}` twice")]
    Twice {
        /// The name.
        name: String,
    },
}

/// What does not fit between an index and its shards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexProblem {
    /// A shard outside the index's folder.
    #[error("shard `{shard}` is not the name of a file beside the index")]
    NotAFileName {
        /// As in the index.
        shard: String,
    },
    /// A shard that is absent.
    #[error("shard `{shard}` is missing, with {tensors} tensors")]
    NoShard {
        /// Its name.
        shard: String,
        /// Tensors that the index says are in it.
        tensors: usize,
    },
    /// A tensor in two shards.
    #[error("tensor `{name}` is there twice, in `{first}` and in `{second}`")]
    Twice {
        /// The tensor.
        name: String,
        /// One shard.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor in another shard.
    #[error("tensor `{name}` should be in `{shard}` and is in `{found}`")]
    OtherShard {
        /// The tensor.
        name: String,
        /// Where the index says it is.
        shard: String,
        /// Where it is.
        found: String,
    },
    /// A tensor in no shard.
    #[error("tensor `{name}` should be in `{shard}` and is in no shard")]
    NotInShard {
        /// The tensor.
        name: String,
        /// Where the index says it is.
        shard: String,
    },
}

/// What is wrong with a key of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}: `{key}` {kind}", file.display())]
pub struct ConfigProblem {
    /// The file.
    pub file: PathBuf,
    /// The key, with a dot where it is nested.
    pub key: String,
    /// What is wrong with it.
    pub kind: ConfigProblemKind,
}

/// The ways in which a configuration's value can be wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblemKind {
    /// A key without a default is absent.
    #[error("is missing; it should be {want}")]
    Missing {
        /// What it should be.
        want: &'static str,
    },
    /// Another type of value.
    #[error("is {got}, it should be {want}")]
    Type {
        /// The value, shortened.
        got: String,
        /// What it should be.
        want: &'static str,
    },
    /// A number that no model has.
    #[error("is {got}, it should be from {low} to {high}")]
    Range {
        /// The value.
        got: String,
        /// Least.
        low: String,
        /// Greatest.
        high: String,
    },
    /// A number that another must divide.
    #[error("is {got}, which is not a multiple of `{by}` = {divisor}")]
    NotDivisible {
        /// The value.
        got: usize,
        /// The other key.
        by: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// An odd size of attention heads, whose halves rotary embeddings turn against each other.
    #[error("is {got}, rotary embeddings need an even number")]
    Odd {
        /// The value.
        got: usize,
    },
    /// Two values that contradict each other.
    #[error("is {got}, but {with} is {other}")]
    Contradicts {
        /// The value.
        got: String,
        /// The other key, or what the other value is.
        with: String,
        /// Its value.
        other: String,
    },
    /// A value that exists elsewhere and is not supported here.
    #[error("{got} is not supported, because {because}")]
    NotSupported {
        /// The value.
        got: String,
        /// The reason, with what is supported.
        because: String,
    },
    /// The vision tower's configuration was not found.
    #[error(
        "names `{got}`, which is neither a folder (looked at {looked_at}) nor a CLIP tower whose \
         configuration is known ({known}); --clip DIR brings a folder with CLIP's config.json and \
         preprocessor_config.json"
    )]
    NoTower {
        /// The value.
        got: String,
        /// The folder that was tried.
        looked_at: String,
        /// Hub names that are known.
        known: String,
    },
}

/// A part of a CuMo model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// CLIP vision tower.
    Vision,
    /// From image features to the LLM's embeddings.
    Connector,
    /// Decoder LLM.
    Llm,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Vision => "vision tower",
            Part::Connector => "connector",
            Part::Llm => "LLM",
        })
    }
}

/// A part of which no tensor was found.
#[derive(Debug)]
pub struct MissingPart {
    /// The part.
    pub part: Part,
    /// Files and folders that were looked into.
    pub looked_in: Vec<PathBuf>,
    /// The folder has an adapter's weights (LoRA), which must be merged into the model first.
    pub adapter: bool,
}

impl fmt::Display for MissingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, looked_in, adapter } = self;
        let looked: Vec<_> = looked_in.iter().map(|path| path.display().to_string()).collect();
        write!(f, "no weights of the {part} in {}", looked.join(", "))?;
        match part {
            Part::Llm => f.write_str("; --llm DIR brings them from the base model's folder")?,
            Part::Vision => f.write_str("; --clip DIR brings them from CLIP's folder")?,
            Part::Connector => {
                f.write_str("; they are in the folder's weights or in its mm_projector.bin")?;
            }
        }
        if *adapter {
            f.write_str(
                " (the folder has a LoRA adapter, which is not supported, because it must be \
                 merged into the model first)",
            )?;
        }
        Ok(())
    }
}

/// A tensor that does not fit the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// Not there.
    #[error("missing: `{name}` {want:?}")]
    Missing {
        /// Name in a whole checkpoint.
        name: String,
        /// Shape that the configuration needs.
        want: Vec<usize>,
    },
    /// Another shape.
    #[error("misshapen: `{name}` is {got:?}, the configuration needs {want:?} ({})", file.display())]
    Shape {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// Shape that the configuration needs.
        want: Vec<usize>,
    },
    /// Elements of a type that weights cannot have.
    #[error("wrong type: `{name}` is {got}, weights are f32, f16 or bf16 ({})", file.display())]
    Dtype {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its type.
        got: &'static str,
    },
    /// Not a tensor of the configured model.
    #[error("extra: `{name}` {shape:?} is no tensor of the configured model ({})", file.display())]
    Extra {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two tensors for one place in the model.
    #[error("twice: `{name}` and `{other}` are the same tensor of the model ({})", file.display())]
    Twice {
        /// File of the second.
        file: PathBuf,
        /// Name of the first, as in its file.
        name: String,
        /// Name of the second, as in its file.
        other: String,
    },
}

impl TensorProblem {
    /// Lists of problems are shown kind by kind.
    fn kind(&self) -> usize {
        match self {
            TensorProblem::Missing { .. } => 0,
            TensorProblem::Shape { .. } => 1,
            TensorProblem::Dtype { .. } => 2,
            TensorProblem::Extra { .. } => 3,
            TensorProblem::Twice { .. } => 4,
        }
    }
}

/// All tensors that do not fit.
#[derive(Debug, Default)]
pub struct TensorProblems(pub Vec<TensorProblem>);

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KINDS: [&str; 5] = ["missing", "misshapen", "of a wrong type", "extra", "twice"];
        let of_kind = |kind| self.0.iter().filter(move |problem| problem.kind() == kind);
        let counts: Vec<String> = KINDS
            .iter()
            .enumerate()
            .map(|(kind, name)| (of_kind(kind).count(), name))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{} {name}", Thousands(count)))
            .collect();
        f.write_str(&counts.join(", "))?;
        for kind in 0..KINDS.len() {
            for problem in of_kind(kind).take(SHOWN) {
                write!(f, "\n  {problem}")?;
            }
            more(f, of_kind(kind).count())?;
        }
        Ok(())
    }
}
