//! Signing a server's nonce with an NKey (ADR-14).

use ed25519_dalek::{Signer, SigningKey};
use nkeys::KeyPair;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use zeroize::{Zeroize, Zeroizing};

/// The text of a seed such as `SUAB…`: a copy, wiped when dropped.
fn text(seed: &Bound<'_, PyByteArray>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(seed.to_vec())
}

/// What all of this module raises: without a library's reason, which could tell of the seed.
fn no_seed() -> PyErr {
    PyValueError::new_err("not the seed of an NKey")
}

/// The public key, such as `UAB…`.
///
/// Raises `ValueError` for what is no seed.
#[pyfunction]
pub fn public_nkey(seed: &Bound<'_, PyByteArray>) -> PyResult<String> {
    let text = text(seed);
    let seed = std::str::from_utf8(&text).map_err(|_| no_seed())?;
    Ok(KeyPair::from_seed(seed.trim()).map_err(|_| no_seed())?.public_key())
}

/// The raw signature of `data`.
///
/// Raises `ValueError` for what is no seed.
#[pyfunction]
pub fn sign_with_nkey<'py>(
    py: Python<'py>,
    seed: &Bound<'py, PyByteArray>,
    data: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let text = text(seed);
    let seed = std::str::from_utf8(&text).map_err(|_| no_seed())?;
    let (_, mut secret) = nkeys::decode_seed(seed.trim()).map_err(|_| no_seed())?;
    let key = SigningKey::from_bytes(&secret);
    secret.zeroize();
    Ok(PyBytes::new(py, &key.sign(data).to_bytes()))
}
