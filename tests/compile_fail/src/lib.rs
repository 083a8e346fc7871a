//! Nothing here: the programs that must not compile stand in `cases/`.
