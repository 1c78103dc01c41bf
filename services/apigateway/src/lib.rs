//! The apigateway and apigatewayv2 rooms.
