//! Taking the messages of a pull request out of its inbox.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::protocol::headers;
use crate::subscription::SubscriptionCore;

#[pymethods]
impl SubscriptionCore {
    /// Up to `limit` messages that are there, and the server's word (a message with a status,
    /// e.g. 404) that stands behind them, if one does. What comes behind that stays.
    fn pop_batch<'py>(
        &self,
        py: Python<'py>,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyList>, Option<Bound<'py, PyAny>>)> {
        let messages = PyList::empty(py);
        while messages.len() < limit {
            let Some(frame) = self.take_frame(py)? else { break };
            let is_status = headers::inline_status(frame.headers()).is_some();
            let message = self.make_message(py, frame)?;
            self.finish(py)?;
            if is_status {
                return Ok((messages, Some(message)));
            }
            messages.append(message)?;
        }
        Ok((messages, None))
    }
}
