//! AWS wire protocols: schema, codecs, SigV4.
