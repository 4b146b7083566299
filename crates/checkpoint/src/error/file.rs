//! What can be wrong with a file of weights.

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
        /// Its type, shortened.
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
    /// A name that cannot be shown.
    #[error("an entry's name is longer than 1,000 bytes, not UTF-8, or has control characters")]
    Name,
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
        /// `module.name`, shortened.
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
    /// Absurdly many values.
    #[error("makes more than {limit} values of a kind by byte {offset}")]
    TooManyValues {
        /// Values allowed.
        limit: usize,
        /// Where.
        offset: usize,
    },
    /// Absurdly many tensors.
    #[error("has {count} tensors, at most {limit} are read")]
    TooManyTensors {
        /// Members of the dict.
        count: usize,
        /// Members allowed.
        limit: usize,
    },
    /// A name that cannot be shown.
    #[error("has a tensor whose name is longer than 1,000 bytes or has control characters")]
    Name,
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
        /// As in the index, shortened.
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
