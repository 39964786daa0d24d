//! Layouts as Xen's headers have them: checked when compiling, and against C in the tests.

/// Types that are nothing but their bytes.
///
/// # Safety
/// Every pattern of bits is a valid value and there is no padding, so that a value may be made
/// from bytes and its bytes may be read. `layout!` checks both where it implements this.
pub unsafe trait Plain: Copy + 'static {
    /// A value whose bytes are all zero.
    #[must_use]
    fn zeroed() -> Self {
        // SAFETY: every pattern of bits is a valid value, as whoever implements this promises.
        unsafe { std::mem::zeroed() }
    }

    /// The value's bytes.
    #[must_use]
    fn as_bytes(&self) -> &[u8] {
        let start = std::ptr::from_ref(self).cast::<u8>();
        // SAFETY: the value is `size_of_val` bytes long, all initialized as there is no padding,
        // and borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts(start, size_of_val(self)) }
    }

    /// A value from the first bytes of `bytes`; `None` where there are too few.
    #[must_use]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: as many bytes as the type has were just taken, every pattern is a valid value,
        // and no alignment is needed.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

// SAFETY: integers have neither padding nor invalid patterns.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}

/// A structure's layout by its C name, for the comparison with the headers.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// As in `sizeof(...)`.
    pub c_type: &'static str,
    /// In bytes.
    pub size: usize,
    /// Names as in `offsetof`, and offsets in bytes.
    pub fields: &'static [(&'static str, usize)],
    /// The domctl interface versions that have this layout, lowest and highest.
    pub domctl_versions: (u32, u32),
}

/// A constant's value by its C name, for the comparison with the headers.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// As a C expression.
    pub c_name: &'static str,
    /// Its value.
    pub value: u64,
}

/// Structures that `layout!` described.
pub trait Described {
    /// How.
    const LAYOUT: Layout;
}

/// The size of the field that `_field` borrows.
#[doc(hidden)]
#[must_use]
pub const fn field_size<S, F: Plain>(_field: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

// SAFETY: an array has the patterns of its elements and no padding between them.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
// SAFETY: an integer.
unsafe impl Plain for u16 {}

/// Describes a `#[repr(C)]` structure: its C name, size, and every field with its offset.
///
/// Does not compile where the numbers differ from what the compiler lays out, or where a field
/// is not [`Plain`], or where there is padding.
macro_rules! layout {
    ($type:ident = $c_type:literal, $size:literal
        $(, domctl $lowest:literal ..= $highest:literal)?,
        { $($field:ident @ $offset:literal $(as $c_field:literal)?),* $(,)? }
    ) => {
        const _: () = {
            assert!(size_of::<$type>() == $size, "size");
            $(assert!(
                core::mem::offset_of!($type, $field) == $offset,
                concat!("offset of ", stringify!($field))
            );)*
            let fields = 0 $(+ $crate::layout::field_size(|value: &$type| &value.$field))*;
            assert!(fields == $size, "padding");
        };

        // SAFETY: all fields are Plain and together as large as the structure (checked above),
        // so there is neither an invalid pattern nor padding.
        unsafe impl $crate::layout::Plain for $type {}

        impl $crate::layout::Described for $type {
            const LAYOUT: $crate::layout::Layout = {
                #[allow(unused_mut, unused_assignments, reason = "most take the default")]
                let mut domctl_versions = (0, u32::MAX);
                $(domctl_versions = ($lowest, $highest);)?
                $crate::layout::Layout {
                    c_type: $c_type,
                    size: $size,
                    fields: &[$((
                        $crate::layout::c_field!($field $($c_field)?),
                        $offset,
                    )),*],
                    domctl_versions,
                }
            };
        }
    };
}

macro_rules! c_field {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $c_field:literal) => {
        $c_field
    };
}

/// Defines constants and lists them with their C names for the comparison with the headers.
macro_rules! constants {
    ($list:ident { $($(#[$meta:meta])* $name:ident: $type:ty = $value:expr => $c_name:literal;)* }) => {
        $($(#[$meta])* pub const $name: $type = $value;)*

        pub(crate) const $list: &[$crate::layout::Constant] = &[
            $($crate::layout::Constant { c_name: $c_name, value: $name as u64 }),*
        ];
    };
}

pub(crate) use {c_field, constants, layout};
