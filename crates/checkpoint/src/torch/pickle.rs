//! Reads the pickle of a state dict: a dict of names and tensors, no more.
//!
//! A pickle is a program for a stack machine that can call any Python function. This reader knows
//! the operations that `torch.save` uses for a state dict, and four functions, which it takes as
//! words of a description: nothing is looked up, imported or called. Everything else is refused,
//! with its name and its place in the pickle.
//!
//! Values live in lists that are indexed by small handles, so that a value is never copied,
//! deeply nested values need no recursion and a dict within itself is no cycle of pointers.
//! Each operation adds a bounded amount or moves what is there, and the lists have limits: an
//! operation of one byte may add fifty times as much.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::op_name::op_name;
use crate::error::PickleError;
use crate::shown::shown;
use crate::tensor::{Element, MAX_RANK, MAX_TENSORS, is_name};

/// Values of a kind that a pickle may make: tuples, dicts, entries of the memo, and so on. A state
/// dict has about four tuples and ten entries a tensor.
const MAX_VALUES: usize = 1 << 20;

/// A tensor of the state dict: some elements of a storage.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) storage: Storage<'a>,
    /// In elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// In elements, one a size.
    pub(super) stride: Vec<usize>,
}

/// Elements in an entry of the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    /// Names the entry, `data/<key>`.
    pub(super) key: &'a str,
    pub(super) element: Element,
}

/// The tensors of the state dict that `bytes` describes, in its order.
pub(super) fn state_dict(bytes: &[u8]) -> Result<Vec<View<'_>>, PickleError> {
    let mut machine = Machine::new(bytes);
    let root = machine.run()?;
    machine.views(root)
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Str(&'a str),
    /// Index of `Machine::tuples`.
    Tuple(usize),
    /// Index of `Machine::dicts`.
    Dict(usize),
    Function(Function),
    StorageType(Element),
    Storage(Storage<'a>),
    /// Index of `Machine::tensors`.
    Tensor(usize),
}

#[derive(Debug, Clone, Copy)]
enum Function {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
}

impl Value<'_> {
    fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) => "an int",
            Value::Str(_) => "a string",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Function(_) => "a function",
            Value::StorageType(_) => "a storage type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct TensorArgs<'a> {
    storage: Storage<'a>,
    offset: usize,
    /// Tuples of as many sizes each, checked.
    shape: Value<'a>,
    stride: Value<'a>,
}

struct Machine<'a> {
    bytes: &'a [u8],
    /// Of the operation being done.
    op: usize,
    /// Of the next byte to read.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Stack heights.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    tuple_items: Vec<Value<'a>>,
    tuples: Vec<Range<usize>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// Of all dicts.
    num_pairs: usize,
    tensors: Vec<TensorArgs<'a>>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            op: 0,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tuple_items: Vec::new(),
            tuples: Vec::new(),
            dicts: Vec::new(),
            num_pairs: 0,
            tensors: Vec::new(),
        }
    }

    /// Does every operation up to STOP and gives the value that it leaves.
    fn run(&mut self) -> Result<Value<'a>, PickleError> {
        loop {
            self.check_sizes()?;
            self.op = self.at;
            let [code] = self.take()?;
            match code {
                b'.' => return self.pop(),
                0x80 => self.protocol()?,
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'J' | b'K' | b'M' | 0x8a => {
                    let int = self.int(code)?;
                    self.stack.push(Value::Int(int));
                }
                b'X' => self.string()?,
                b'}' => self.new_dict(),
                b'(' => self.marks.push(self.stack.len()),
                b')' => self.new_tuple(self.stack.len()),
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let start = self.stack.len().checked_sub(count).filter(|&s| s >= self.floor());
                    let start = start.ok_or(PickleError::StackEmpty { offset: self.op })?;
                    self.new_tuple(start);
                }
                b't' => {
                    let start = self.pop_mark()?;
                    self.new_tuple(start);
                }
                b's' => {
                    let start = self.stack.len().checked_sub(2).filter(|&s| s >= self.floor());
                    let start = start.ok_or(PickleError::StackEmpty { offset: self.op })?;
                    self.set_items(start)?;
                }
                b'u' => {
                    let start = self.pop_mark()?;
                    self.set_items(start)?;
                }
                b'q' | b'r' => self.put(code)?,
                b'h' | b'j' => self.get(code)?,
                b'c' => self.global()?,
                b'Q' => self.persistent_id()?,
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                _ => {
                    return Err(PickleError::Opcode { code, name: op_name(code), offset: self.op });
                }
            }
        }
    }

    /// Checks that the pickle has not made more values than any state dict.
    fn check_sizes(&self) -> Result<(), PickleError> {
        let sizes = [
            self.stack.len(),
            self.marks.len(),
            self.memo.len(),
            self.tuple_items.len(),
            self.tuples.len(),
            self.dicts.len(),
            self.num_pairs,
            self.tensors.len(),
        ];
        match sizes.iter().any(|&size| size > MAX_VALUES) {
            true => Err(PickleError::TooManyValues { limit: MAX_VALUES, offset: self.op }),
            false => Ok(()),
        }
    }

    /// The views that the dict `root` names.
    fn views(&mut self, root: Value<'a>) -> Result<Vec<View<'a>>, PickleError> {
        let Value::Dict(root) = root else {
            return Err(PickleError::NotADict { found: root.kind() });
        };
        let items = self.dicts.get_mut(root).map(std::mem::take).unwrap_or_default();
        let count = items.len();
        if count > MAX_TENSORS {
            return Err(PickleError::TooManyTensors { count, limit: MAX_TENSORS });
        }
        let mut names = HashSet::new();
        let mut views = Vec::new();
        for (key, value) in items {
            let Value::Str(name) = key else {
                return Err(PickleError::NameNotAString { found: key.kind() });
            };
            if !is_name(name) {
                return Err(PickleError::Name);
            }
            if !names.insert(name) {
                return Err(PickleError::Twice { name: name.to_owned() });
            }
            let Value::Tensor(tensor) = value else {
                return Err(PickleError::NotATensor { name: name.to_owned(), found: value.kind() });
            };
            views.extend(self.tensors.get(tensor).and_then(|args| self.view(name, args)));
        }
        Ok(views)
    }

    fn view(&self, name: &'a str, args: &TensorArgs<'a>) -> Option<View<'a>> {
        let TensorArgs { storage, offset, shape, stride } = *args;
        let (shape, stride) = (self.sizes(shape)?, self.sizes(stride)?);
        Some(View { name, storage, offset, shape, stride })
    }

    fn protocol(&mut self) -> Result<(), PickleError> {
        let [version] = self.take()?;
        if version == 2 { Ok(()) } else { Err(PickleError::Protocol { version }) }
    }

    fn int(&mut self, code: u8) -> Result<i64, PickleError> {
        Ok(match code {
            b'J' => i32::from_le_bytes(self.take()?).into(),
            b'K' => u8::from_le_bytes(self.take()?).into(),
            b'M' => u16::from_le_bytes(self.take()?).into(),
            // LONG1: a length, then as many bytes, the highest bit being the sign.
            _ => {
                let [length] = self.take()?;
                let digits = self.take_slice(length.into())?;
                if digits.len() > 8 {
                    return Err(PickleError::IntTooLarge { offset: self.op });
                }
                let negative = digits.last().is_some_and(|&high| high & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                for (to, &from) in wide.iter_mut().zip(digits) {
                    *to = from;
                }
                i64::from_le_bytes(wide)
            }
        })
    }

    fn string(&mut self) -> Result<(), PickleError> {
        let length = u32::from_le_bytes(self.take()?);
        let text = self.take_slice(length as usize)?;
        let text = str::from_utf8(text).map_err(|_| PickleError::NotUtf8 { offset: self.op })?;
        self.stack.push(Value::Str(text));
        Ok(())
    }

    fn new_dict(&mut self) {
        self.stack.push(Value::Dict(self.dicts.len()));
        self.dicts.push(Vec::new());
    }

    /// Makes a tuple of what lies on the stack from `start` on.
    fn new_tuple(&mut self, start: usize) {
        let first = self.tuple_items.len();
        self.tuple_items.extend(self.stack.drain(start..));
        self.stack.push(Value::Tuple(self.tuples.len()));
        self.tuples.push(first..self.tuple_items.len());
    }

    /// Puts the pairs that lie on the stack from `start` on into the dict below them.
    fn set_items(&mut self, start: usize) -> Result<(), PickleError> {
        let offset = self.op;
        let pairs = self.stack.split_off(start);
        if !pairs.len().is_multiple_of(2) {
            return Err(PickleError::StackEmpty { offset });
        }
        let top = self.top()?;
        let Value::Dict(dict) = top else {
            return Err(PickleError::Operand { want: "a dict", found: top.kind(), offset });
        };
        self.num_pairs += pairs.len() / 2;
        if let Some(dict) = self.dicts.get_mut(dict) {
            dict.extend(pairs.chunks_exact(2).filter_map(|pair| match pair {
                [key, value] => Some((*key, *value)),
                _ => None,
            }));
        }
        Ok(())
    }

    fn put(&mut self, code: u8) -> Result<(), PickleError> {
        let key = self.memo_key(code == b'r')?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), PickleError> {
        let key = self.memo_key(code == b'j')?;
        let value = self.memo.get(&key).copied();
        self.stack.push(value.ok_or(PickleError::NoMemo { key, offset: self.op })?);
        Ok(())
    }

    fn memo_key(&mut self, long: bool) -> Result<u32, PickleError> {
        Ok(if long {
            u32::from_le_bytes(self.take()?)
        } else {
            u8::from_le_bytes(self.take()?).into()
        })
    }

    /// A name of Python's, given as two lines.
    fn global(&mut self) -> Result<(), PickleError> {
        let module = self.line()?;
        let name = self.line()?;
        let value = match (module, name) {
            ("collections", "OrderedDict") => Value::Function(Function::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Value::Function(Function::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Value::Function(Function::RebuildParameter),
            ("torch", name) if storage_type(name).is_some() => {
                // Checked just above.
                storage_type(name).map_or(Value::None, Value::StorageType)
            }
            _ => {
                let name = shown(&format!("{module}.{name}"));
                return Err(PickleError::Global { name, offset: self.op });
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// `('storage', torch.FloatStorage, key, device, number of elements)`.
    fn persistent_id(&mut self) -> Result<(), PickleError> {
        let offset = self.op;
        let id = self.pop()?;
        let storage = match self.tuple(id) {
            Some(
                [
                    Value::Str("storage"),
                    Value::StorageType(element),
                    Value::Str(key),
                    Value::Str(_),
                    Value::Int(_),
                ],
            ) => Storage { key, element: *element },
            _ => return Err(PickleError::PersistentId { offset }),
        };
        self.stack.push(Value::Storage(storage));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), PickleError> {
        let args = self.pop()?;
        let function = self.pop()?;
        let offset = self.op;
        let Value::Function(function) = function else {
            return Err(PickleError::Operand {
                want: "a function",
                found: function.kind(),
                offset,
            });
        };
        let Some(args) = self.tuple(args) else {
            return Err(PickleError::Operand { want: "a tuple", found: args.kind(), offset });
        };
        match function {
            Function::OrderedDict if args.is_empty() => self.new_dict(),
            Function::OrderedDict => return Err(PickleError::Arguments { offset }),
            Function::RebuildTensor => {
                let tensor = self.tensor(args).ok_or(PickleError::Arguments { offset })?;
                self.stack.push(Value::Tensor(self.tensors.len()));
                self.tensors.push(tensor);
            }
            Function::RebuildParameter => match args {
                [tensor @ Value::Tensor(_), _, _] => {
                    let tensor = *tensor;
                    self.stack.push(tensor);
                }
                _ => return Err(PickleError::Arguments { offset }),
            },
        }
        Ok(())
    }

    /// `(storage, offset, size, stride, requires_grad, hooks)`, and metadata in later versions.
    fn tensor(&self, args: &[Value<'a>]) -> Option<TensorArgs<'a>> {
        let ([Value::Storage(storage), Value::Int(offset), shape, stride, _, _]
        | [Value::Storage(storage), Value::Int(offset), shape, stride, _, _, _]) = args
        else {
            return None;
        };
        if self.sizes(*shape)?.len() != self.sizes(*stride)?.len() {
            return None;
        }
        let offset = usize::try_from(*offset).ok()?;
        Some(TensorArgs { storage: *storage, offset, shape: *shape, stride: *stride })
    }

    fn sizes(&self, tuple: Value<'a>) -> Option<Vec<usize>> {
        let items = self.tuple(tuple).filter(|items| items.len() <= MAX_RANK)?;
        items
            .iter()
            .map(|item| match item {
                Value::Int(size) => usize::try_from(*size).ok(),
                _ => None,
            })
            .collect()
    }

    /// Attributes of an ordered dict, such as the `_metadata` of a module's state dict: dropped.
    fn build(&mut self) -> Result<(), PickleError> {
        let state = self.pop()?;
        let offset = self.op;
        if !matches!(state, Value::Dict(_)) {
            return Err(PickleError::Operand { want: "a dict", found: state.kind(), offset });
        }
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(PickleError::Operand { want: "a dict", found: other.kind(), offset }),
        }
    }

    fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        let Value::Tuple(index) = value else { return None };
        self.tuple_items.get(self.tuples.get(index)?.clone())
    }

    /// The height below which the innermost open mark forbids to pop.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, PickleError> {
        let value = if self.stack.len() > self.floor() { self.stack.pop() } else { None };
        value.ok_or(PickleError::StackEmpty { offset: self.op })
    }

    fn top(&self) -> Result<Value<'a>, PickleError> {
        let value = if self.stack.len() > self.floor() { self.stack.last() } else { None };
        value.copied().ok_or(PickleError::StackEmpty { offset: self.op })
    }

    fn pop_mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or(PickleError::StackEmpty { offset: self.op })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = *rest.first_chunk().ok_or(PickleError::Cut { offset: self.op })?;
        self.at += N;
        Ok(taken)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(length).ok_or(PickleError::Cut { offset: self.op })?;
        let taken = self.bytes.get(self.at..end).ok_or(PickleError::Cut { offset: self.op })?;
        self.at = end;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take_slice(length.ok_or(PickleError::Cut { offset: self.op })?)?;
        self.at += 1;
        str::from_utf8(line).map_err(|_| PickleError::NotUtf8 { offset: self.op })
    }
}

/// The element type of `torch.<name>`.
fn storage_type(name: &str) -> Option<Element> {
    let element = match name {
        "FloatStorage" => "f32",
        "HalfStorage" => "f16",
        "BFloat16Storage" => "bf16",
        "DoubleStorage" => "f64",
        "LongStorage" => "i64",
        "IntStorage" => "i32",
        "ShortStorage" => "i16",
        "CharStorage" => "i8",
        "ByteStorage" => "u8",
        "BoolStorage" => "bool",
        _ => return None,
    };
    Element::named(element)
}
