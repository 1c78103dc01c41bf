//! The one listener: detect, authenticate, authorise, route.
