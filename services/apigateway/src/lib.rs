//! The apigateway and apigatewayv2 rooms.

pub mod api;
