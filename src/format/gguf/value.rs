//! The typed values of GGUF metadata.

/// One value of a GGUF file's metadata, with its type in the file.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is GGUF's type of the same name")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of a GGUF file's metadata. All elements have one type; an empty array has a type too.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is GGUF's type of the same name")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// GGUF's numbers for the types, in the order of [`Value`] and [`Array`].
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

impl Value {
    /// GGUF's number for the type.
    pub(super) fn type_id(&self) -> u32 {
        match self {
            Value::U8(_) => 0,
            Value::I8(_) => 1,
            Value::U16(_) => 2,
            Value::I16(_) => 3,
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::String(_) => STRING,
            Value::Array(_) => ARRAY,
            Value::U64(_) => 10,
            Value::I64(_) => 11,
            Value::F64(_) => 12,
        }
    }

    /// The value as a whole number, from an integer type of any width; `None` if it is not one.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match self {
            Value::U8(v) => i128::from(*v),
            Value::I8(v) => i128::from(*v),
            Value::U16(v) => i128::from(*v),
            Value::I16(v) => i128::from(*v),
            Value::U32(v) => i128::from(*v),
            Value::I32(v) => i128::from(*v),
            Value::U64(v) => i128::from(*v),
            Value::I64(v) => i128::from(*v),
            _ => return None,
        })
    }

    /// The value as a float: F32, F64, or a whole number; `None` if it is not a number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            other => other.as_integer().map(|v| v as f64),
        }
    }

    /// Describes the value for messages: `a string`, `an array of 3 u32`.
    pub(super) fn describe(&self) -> String {
        match self {
            Value::String(_) => "a string".into(),
            Value::Bool(v) => format!("the bool {v}"),
            Value::Array(array) => format!("an array of {} {}", array.len(), array.type_name()),
            Value::F32(v) => format!("the float {v}"),
            Value::F64(v) => format!("the float {v}"),
            other => format!("the integer {}", other.as_integer().unwrap_or_default()),
        }
    }
}

/// Applies `$body` to the vector inside any [`Array`].
macro_rules! each_array {
    ($array:expr, $v:ident => $body:expr) => {
        match $array {
            Array::U8($v) => $body,
            Array::I8($v) => $body,
            Array::U16($v) => $body,
            Array::I16($v) => $body,
            Array::U32($v) => $body,
            Array::I32($v) => $body,
            Array::F32($v) => $body,
            Array::Bool($v) => $body,
            Array::String($v) => $body,
            Array::Array($v) => $body,
            Array::U64($v) => $body,
            Array::I64($v) => $body,
            Array::F64($v) => $body,
        }
    };
}

impl Array {
    /// Elements in the array.
    pub fn len(&self) -> usize {
        each_array!(self, v => v.len())
    }

    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// GGUF's number for the elements' type.
    pub(super) fn type_id(&self) -> u32 {
        match self {
            Array::U8(_) => 0,
            Array::I8(_) => 1,
            Array::U16(_) => 2,
            Array::I16(_) => 3,
            Array::U32(_) => 4,
            Array::I32(_) => 5,
            Array::F32(_) => 6,
            Array::Bool(_) => 7,
            Array::String(_) => STRING,
            Array::Array(_) => ARRAY,
            Array::U64(_) => 10,
            Array::I64(_) => 11,
            Array::F64(_) => 12,
        }
    }

    fn type_name(&self) -> &'static str {
        TYPE_NAMES[self.type_id() as usize]
    }
}

const TYPE_NAMES: [&str; 13] =
    ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];
