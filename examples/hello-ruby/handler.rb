# frozen_string_literal: true

require "json"

def hello(event:, context:)
  name = event.dig("pathParameters", "name") || event.dig("queryStringParameters", "name") || "world"
  puts "greeting #{name}"
  {
    statusCode: 200,
    headers: { "Content-Type" => "application/json" },
    body: JSON.generate({ message: "Hello, #{name}!" })
  }
end
