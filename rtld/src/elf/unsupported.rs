//! Entries of PT_DYNAMIC that change what an object means, in ways that the loader does not act on. To skip them would be to
//! run something else.
#![forbid(unsafe_code)]

use crate::elf::{Dyn, consts};

/// Name of the feature that an entry asks for, if the loader refuses it instead of skipping it.
pub(crate) const fn unsupported(entry: &Dyn) -> Option<&'static str> {
    let value = entry.d_val;
    match entry.d_tag {
        consts::DT_RELSZ if value != 0 => Some("DT_REL"),
        consts::DT_PLTREL if value != consts::DT_RELA => Some("DT_PLTREL of DT_REL"),
        consts::DT_TEXTREL => Some("DT_TEXTREL"),
        consts::DT_FLAGS if value & consts::DF_TEXTREL != 0 => Some("DF_TEXTREL"),
        consts::DT_FILTER => Some("DT_FILTER"),
        consts::DT_AUXILIARY => Some("DT_AUXILIARY"),
        consts::DT_ANDROID_REL | consts::DT_ANDROID_RELSZ => Some("DT_ANDROID_REL"),
        consts::DT_ANDROID_RELA | consts::DT_ANDROID_RELASZ => Some("DT_ANDROID_RELA"),
        consts::DT_ANDROID_RELR | consts::DT_ANDROID_RELRSZ => Some("DT_ANDROID_RELR"),
        consts::DT_CREL => Some("DT_CREL"),
        consts::DT_MOVETAB => Some("DT_MOVETAB"),
        consts::DT_MOVESZ if value != 0 => Some("DT_MOVETAB"),
        consts::DT_AUDIT => Some("DT_AUDIT"),
        consts::DT_DEPAUDIT => Some("DT_DEPAUDIT"),
        consts::DT_FLAGS_1 if value & consts::DF_1_DIRECT != 0 => Some("DF_1_DIRECT"),
        consts::DT_FLAGS_1 if value & consts::DF_1_NODEFLIB != 0 => Some("DF_1_NODEFLIB"),
        consts::DT_FLAGS_1 if value & consts::DF_1_STUB != 0 => Some("DF_1_STUB"),
        consts::DT_FLAGS_1 if value & consts::DF_1_INITFIRST != 0 => Some("DF_1_INITFIRST"),
        consts::DT_FLAGS_1 if value & consts::DF_1_INTERPOSE != 0 => Some("DF_1_INTERPOSE"),
        _ => None,
    }
}
