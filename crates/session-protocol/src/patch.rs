//! JSON Patch (RFC 6902) of an agent: applied whole or not at all, and never to more than there is room for.
//!
//! A patch of a few bytes may make a large value out of a small one (`copy`), a deep one (`move`), or touch all of it
//! once for each operation. So its size and depth are bounded before it is applied: nothing is applied and then taken
//! back.

use json_patch::{CopyOperation, MoveOperation, Patch, PatchOperation};
use serde_json::Value;

/// Operations of one patch: each may move all of a list.
const MAX_OPERATIONS: usize = 1000;
/// Levels that a patched value has at most: readers of JSON stop at 128, and it stands inside other values.
const MAX_DEPTH: usize = 100;

/// A value that is patched, and how large it may be.
#[derive(Clone, PartialEq)]
pub struct Patched {
    value: Value,
    /// Bytes that it has as JSON, at most.
    size: usize,
}

impl std::fmt::Debug for Patched {
    // L11: what an agent keeps is a person's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patched").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Patched {
    /// A value as it is.
    pub fn new(value: Value) -> Self {
        let size = size(&value);
        Self { value, size }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value, out of it.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// Bytes that the value has as JSON, at most; twice what patches may make of it bounds it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Applies a patch (a list of operations), all of it or nothing. False when it is none, does not fit the value, or
    /// could make more than `most` bytes of it. Costs in proportion to the patch, and to the value where it
    /// moves or copies; else that is measured anew only when
    /// patches have added up to another `most`.
    pub fn apply(&mut self, patch: Value, most: usize) -> bool {
        let bytes = size(&patch);
        let Ok(Patch(operations)) = serde_json::from_value::<Patch>(patch) else { return false };
        if operations.len() > MAX_OPERATIONS || !self.stays_flat(&operations) {
            return false;
        }
        let copies = operations.iter().filter(|one| matches!(one, PatchOperation::Copy(_))).count();
        // Each copy may double what is there.
        let after = |size: usize| {
            let factor = u32::try_from(copies).ok().and_then(|copies| 1_usize.checked_shl(copies));
            size.saturating_add(bytes).saturating_mul(factor.unwrap_or(usize::MAX))
        };
        if after(self.size) > most.saturating_mul(2) {
            self.size = size(&self.value);
            if after(self.size) > most {
                return false;
            }
        }
        if json_patch::patch(&mut self.value, &operations).is_err() {
            return false;
        }
        self.size = after(self.size);
        true
    }

    fn stays_flat(&self, operations: &[PatchOperation]) -> bool {
        let mut moved = None; // the deepest that may be moved so far
        operations.iter().all(|operation| {
            let below = match operation {
                PatchOperation::Add(one) => depth(&one.value),
                PatchOperation::Replace(one) => depth(&one.value),
                PatchOperation::Move(MoveOperation { from, .. })
                | PatchOperation::Copy(CopyOperation { from, .. }) => {
                    let deepest = moved.get_or_insert_with(|| {
                        operations.iter().map(brought).fold(depth(&self.value), usize::max)
                    });
                    deepest.saturating_sub(from.count())
                }
                PatchOperation::Remove(_) | PatchOperation::Test(_) => return true,
            };
            let levels = operation.path().count() + below;
            if let Some(moved) = &mut moved {
                *moved = levels.max(*moved);
            }
            levels <= MAX_DEPTH
        })
    }
}

/// Levels that an operation brings along, below the beginning.
fn brought(operation: &PatchOperation) -> usize {
    let value = match operation {
        PatchOperation::Add(one) => &one.value,
        PatchOperation::Replace(one) => &one.value,
        _ => return 0,
    };
    operation.path().count() + depth(value)
}

/// Bytes of a value as JSON.
fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).ok(); // counting does not fail
    count.0
}

/// Levels of a value, which was read from JSON or patched here and so has not many.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_applies_whole_or_not_at_all() {
        let mut value = Patched::new(json!({"list": [1]}));
        let good = json!([{"op": "add", "path": "/list/-", "value": 2}, {"op": "test", "path": "/list/0", "value": 1}]);
        assert!(value.apply(good, 1000));
        for bad in [
            json!([{"op": "add", "path": "/list/-", "value": 3}, {"op": "test", "path": "/list/0", "value": 2}]),
            json!([{"op": "remove", "path": "/none"}]),
            json!([{"op": "brew"}]),
            json!({"list": []}),
            json!(null),
        ] {
            assert!(!value.apply(bad, 1000));
        }
        assert_eq!(value.value(), &json!({"list": [1, 2]}));
    }

    #[test]
    fn patches_make_nothing_large_or_deep_out_of_little() {
        let copy = |from: &str, to: &str| json!({"op": "copy", "from": from, "path": to});
        let mut value = Patched::new(json!({"a": "x".repeat(100)}));
        let bomb = (0..40).map(|n| copy("", &format!("/{n}"))).collect();
        assert!(!value.apply(bomb, 10_000));
        for n in 0..1000 {
            value.apply(json!([copy("/a", &format!("/{n}"))]), 10_000);
            assert!(size(value.value()) <= value.size() && value.size() <= 20_000);
        }
        let mut value = Patched::new(json!({"a": {}}));
        for _ in 0..1000 {
            value.apply(json!([{"op": "copy", "from": "", "path": "/a/a"}]), 10_000);
            value.apply(json!([{"op": "move", "from": "/a", "path": "/b"}, {"op": "add", "path": "/a", "value": {}},
                {"op": "move", "from": "/b", "path": "/a/b"}]), 10_000);
            assert!(depth(value.value()) <= MAX_DEPTH);
        }
        let many = vec![json!({"op": "test", "path": "/a", "value": 0}); MAX_OPERATIONS + 1];
        assert!(!value.apply(many.into(), 10_000));
    }

    #[test]
    fn a_value_that_stays_small_is_patched_for_ever() {
        let mut value = Patched::new(json!({"n": 0}));
        for n in 0..10_000 {
            assert!(value.apply(json!([{"op": "replace", "path": "/n", "value": n}]), 1000));
        }
        assert_eq!(value.value(), &json!({"n": 9999}));
    }
}
