//! Describes the layouts of Xen's structures. The compiler checks them, and the tests compare them with C.

/// The layout of a structure, by its C name, for the comparison with the headers.
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

/// The value of a constant, by its C name, for the comparison with the headers.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// As a C expression.
    pub c_name: &'static str,
    /// The value.
    pub value: u64,
}

/// Describes a module's `#[repr(C)]` structures by C name, size, and each field's offset, and lists them for the
/// comparison with the headers.
///
/// Does not compile if a number differs from the compiler's layout, if a structure has hidden padding, or if a field
/// does not accept every bit pattern.
macro_rules! layouts {
    ($list:ident { $(
        $type:ident = $c_type:literal, $size:literal
        $(, domctl $lowest:literal ..= $highest:literal)?,
        { $($field:ident @ $offset:literal $(as $c_field:literal)?),* $(,)? };
    )* }) => {
        $(const _: () = {
            const fn is_its_bytes<T: zerocopy::FromBytes + zerocopy::IntoBytes>() {}
            is_its_bytes::<$type>();
            assert!(size_of::<$type>() == $size, "size");
            $(assert!(
                core::mem::offset_of!($type, $field) == $offset,
                concat!("offset of ", stringify!($field))
            );)*
        };)*

        pub(crate) const $list: &[$crate::layout::Layout] = &[$({
            #[allow(unused_mut, unused_assignments, reason = "most take the default")]
            let mut domctl_versions = (0, u32::MAX);
            $(domctl_versions = ($lowest, $highest);)?
            $crate::layout::Layout {
                c_type: $c_type,
                size: $size,
                fields: &[$(($crate::layout::c_field!($field $($c_field)?), $offset)),*],
                domctl_versions,
            }
        }),*];
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

pub(crate) use {c_field, constants, layouts};
