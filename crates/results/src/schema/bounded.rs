//! Lists of a file, none longer than `cumo bench` writes: a file cannot make its reader take much
//! more memory than it has bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The most rows of a table: depths, routers, images, parts, sensors, notes.
pub const MAX_ROWS: usize = 1000;

/// The most samples of a list, and of all rows of tokens together.
pub const MAX_SAMPLES: usize = 1 << 20;

/// At most [`MAX_ROWS`] elements.
pub(super) fn rows<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List::<T, MAX_ROWS>(PhantomData))
}

/// At most [`MAX_SAMPLES`] elements.
pub(super) fn samples<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List::<T, MAX_SAMPLES>(PhantomData))
}

/// At most [`MAX_SAMPLES`] lists of as many elements each.
pub(super) fn lists<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<Vec<T>>, D::Error> {
    let lists: Vec<Bounded<T, MAX_SAMPLES>> = samples(from)?;
    Ok(lists.into_iter().map(|list| list.0).collect())
}

/// At most [`MAX_ROWS`] elements, or none.
pub(super) fn optional_rows<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Option::<Bounded<T, MAX_ROWS>>::deserialize(from)?.map(|list| list.0))
}

/// At most [`MAX_ROWS`] names.
pub(super) fn by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    from.deserialize_map(Names(PhantomData))
}

/// A list that is bounded wherever it stands.
struct Bounded<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(List::<T, MOST>(PhantomData)).map(Bounded)
    }
}

struct List<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = from.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom(format!("a list of over {MOST} elements")));
            }
            list.push(element);
        }
        Ok(list)
    }
}

struct Names<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX_ROWS} names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = from.next_entry()? {
            if map.len() == MAX_ROWS {
                return Err(A::Error::custom(format!("an object of over {MAX_ROWS} names")));
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}
