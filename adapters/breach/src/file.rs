//! The form of the file. All numbers are little-endian.
//!
//! ```text
//! head    8 bytes  "PRBREACH"
//!         4        version, 1
//!         4        bytes of a stored fingerprint, 4
//!         8        number of entries
//!         32       SHA-256 of the index
//!         8        the beginning of the SHA-256 of these 56 bytes
//! index   65,536 times, one for each beginning of two bytes that a SHA-1 can have:
//!         4        number of entries
//!         8        the beginning of the SHA-256 of the bucket
//! buckets the third to sixth byte of each SHA-1, sorted
//! ```

use std::io::{Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use crate::error::FilterError;

pub(crate) const MAGIC: [u8; 8] = *b"PRBREACH";
pub(crate) const VERSION: u32 = 1;
pub(crate) const BUCKETS: usize = 65_536;
/// What of a fingerprint names its bucket.
pub(crate) const BUCKET_BYTES: usize = 2;
/// The rest of it.
pub(crate) const STORED_BYTES: usize = 4;
pub(crate) const FINGERPRINT_BYTES: usize = BUCKET_BYTES + STORED_BYTES;
pub(crate) const HEAD_BYTES: usize = 64;
pub(crate) const INDEX_BYTES: usize = BUCKETS * 12;
/// 4 MiB a bucket, sixty thousand million entries in all.
pub(crate) const MAX_BUCKET: u32 = 1 << 20;

/// The beginning of a SHA-1.
pub(crate) type Fingerprint = [u8; FINGERPRINT_BYTES];

/// The beginning of a SHA-256.
pub(crate) type Sum = [u8; 8];

pub(crate) fn sum(bytes: &[u8]) -> Sum {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

pub(crate) fn head(entries: u64, index: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    // Four.
    head.extend((STORED_BYTES as u32).to_le_bytes());
    head.extend(entries.to_le_bytes());
    head.extend(Sha256::digest(index));
    head.extend(sum(&head));
    head
}

/// One bucket's place in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    offset: u64,
    entries: u32,
    sum: Sum,
}

/// Head and index, checked.
pub(crate) struct Index {
    buckets: Vec<Bucket>,
    pub(crate) entries: u64,
}

impl Index {
    pub(crate) fn read(file: &mut (impl Read + Seek)) -> Result<Self, FilterError> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let fields = Fields(&head);
        let (magic, fields) = fields.take::<8>().ok_or(FilterError::NotAFilter)?;
        if magic != MAGIC {
            return Err(FilterError::NotAFilter);
        }
        let cut = FilterError::Damaged { what: "head" };
        let Some((version, fields)) = fields.take() else {
            return Err(cut);
        };
        let found = u32::from_le_bytes(version);
        if found != VERSION {
            let known = VERSION;
            return Err(FilterError::Version { found, known });
        }
        let parsed = fields.take().and_then(|(stored, fields)| {
            let (entries, fields) = fields.take()?;
            let (index_sum, fields) = fields.take::<32>()?;
            let (head_sum, _) = fields.take::<8>()?;
            Some((
                u32::from_le_bytes(stored),
                u64::from_le_bytes(entries),
                index_sum,
                head_sum,
            ))
        });
        let Some((stored, entries, index_sum, head_sum)) = parsed else {
            return Err(cut);
        };
        let covered = head.get(..HEAD_BYTES - 8).unwrap_or_default();
        if stored as usize != STORED_BYTES || sum(covered) != head_sum {
            return Err(cut);
        }

        let mut index = Vec::with_capacity(INDEX_BYTES);
        file.take(INDEX_BYTES as u64).read_to_end(&mut index)?;
        if <[u8; 32]>::from(Sha256::digest(&index)) != index_sum {
            return Err(FilterError::Damaged { what: "index" });
        }
        let mut offset = (HEAD_BYTES + INDEX_BYTES) as u64;
        let mut counted = 0;
        let mut buckets = Vec::with_capacity(BUCKETS);
        for [a, b, c, d, sum @ ..] in index.as_chunks::<12>().0 {
            let entries = u32::from_le_bytes([*a, *b, *c, *d]);
            if entries > MAX_BUCKET {
                return Err(FilterError::Damaged { what: "index" });
            }
            let sum = *sum;
            buckets.push(Bucket {
                offset,
                entries,
                sum,
            });
            offset += u64::from(entries) * STORED_BYTES as u64;
            counted += u64::from(entries);
        }
        if buckets.len() != BUCKETS || counted != entries {
            return Err(FilterError::Damaged { what: "index" });
        }
        if offset != length {
            return Err(FilterError::Damaged { what: "length" });
        }
        Ok(Self { buckets, entries })
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter()
    }

    /// Where a fingerprint would be, and what to look for there.
    pub(crate) fn place(&self, fingerprint: Fingerprint) -> Option<(&Bucket, [u8; STORED_BYTES])> {
        let [a, b, stored @ ..] = fingerprint;
        let bucket = self.buckets.get(usize::from(u16::from_be_bytes([a, b])))?;
        Some((bucket, stored))
    }
}

impl Bucket {
    /// Its entries. What is read is checked, every time: a disk that rots, or a file that somebody
    /// wrote over, is an error and not a leak less.
    pub(crate) fn read(
        &self,
        file: &mut (impl Read + Seek),
    ) -> Result<Vec<[u8; STORED_BYTES]>, FilterError> {
        let mut bytes = vec![0; self.entries as usize * STORED_BYTES];
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_exact(&mut bytes)?;
        if sum(&bytes) != self.sum {
            return Err(FilterError::Damaged { what: "bucket" });
        }
        Ok(bytes.as_chunks().0.to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// The rest of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(self) -> Option<([u8; N], Self)> {
        let (field, rest) = self.0.split_first_chunk()?;
        Some((*field, Self(rest)))
    }
}
