//! Plain f32 loops under the kernels' own names: the oracle for every GPU result.
