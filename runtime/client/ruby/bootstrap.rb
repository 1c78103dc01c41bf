# frozen_string_literal: true

# The runtime client for Ruby: loads the handler (`file.method` or `file.Class.method`), speaks the Runtime API over one kept
# connection, calls it with `event:` and `context:`.

require "json"
require "socket"

module SquallRuntime
  VERSION_PATH = "/2018-06-01/runtime/"

  # Knows only what the Runtime API sends: a status, headers, a Content-Length.
  class Api
    def initialize(address)
      @host = address
      name, _, port = address.rpartition(":")
      @socket = TCPSocket.new(name, port.to_i)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    end

    def next_event
      @socket.write("GET #{VERSION_PATH}invocation/next HTTP/1.1\r\nHost: #{@host}\r\n\r\n")
      read
    end

    def post(path, body, error_type = nil)
      head = +"POST #{VERSION_PATH}#{path} HTTP/1.1\r\nHost: #{@host}\r\nContent-Type: application/json\r\n"
      head << "Lambda-Runtime-Function-Error-Type: #{error_type.gsub(/[\r\n]/, " ")}\r\n" if error_type
      head << "Content-Length: #{body.bytesize}\r\n\r\n"
      @socket.write(head.b + body.b)
      read
    end

    private

    def read
      # The platform has gone: there is nobody left to run for.
      @socket.gets || exit!(1)
      headers = {}
      while (line = @socket.gets) && line != "\r\n"
        name, value = line.split(":", 2)
        headers[name.downcase] = value.to_s.strip
      end
      size = headers["content-length"].to_i
      [headers, size.zero? ? "" : @socket.read(size)]
    end
  end

  class Identity
    attr_reader :cognito_identity_id, :cognito_identity_pool_id

    def initialize(fields)
      @cognito_identity_id = fields["cognitoIdentityId"]
      @cognito_identity_pool_id = fields["cognitoIdentityPoolId"]
    end
  end

  # The second argument of a handler; names as AWS documents them.
  class LambdaContext
    attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
                :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms

    def initialize(headers)
      @aws_request_id = headers["lambda-runtime-aws-request-id"]
      @invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
      @deadline_ms = headers["lambda-runtime-deadline-ms"].to_i
      @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
      @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
      @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
      @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
      @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
      client = headers["lambda-runtime-client-context"]
      @client_context = JSON.parse(client) if client
      identity = headers["lambda-runtime-cognito-identity"]
      @identity = Identity.new(JSON.parse(identity)) if identity
    end

    def get_remaining_time_in_millis
      [@deadline_ms - (Time.now.to_f * 1000).to_i, 0].max
    end

    def log(message)
      $stdout.write(message.to_s)
    end
  end

  OWN = File.expand_path(__FILE__)

  module_function

  # One event of the log, however many lines: the platform turns NUL back into line breaks.
  def framed(text)
    "\0#{text.gsub("\0", " ").gsub("\n", "\0")}\n"
  end

  def describe(error, kind)
    trace = (error.backtrace || []).reject { |line| line.start_with?(OWN) }
    { "errorMessage" => error.message.dup.force_encoding("UTF-8").scrub, "errorType" => "#{kind}<#{error.class}>",
      "stackTrace" => trace }
  end

  def report(error, kind)
    fields = describe(error, kind)
    $stdout.write(framed(JSON.pretty_generate(fields)))
    [JSON.generate(fields), fields["errorType"]]
  end

  # The handler that `_HANDLER` names, as something that can be called.
  def load_handler(name)
    parts = name.split(".")
    unless [2, 3].include?(parts.length)
      raise ArgumentError, "Invalid handler #{name}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where " \
                           "FILENAME corresponds with an existing Ruby source file FILENAME.rb, CLASS is an optional " \
                           "module/class namespace and METHOD is a callable method."
    end
    require File.join(Dir.pwd, parts[0])
    owner = parts.length == 3 ? Kernel.const_get(parts[1]) : TOPLEVEL_BINDING.receiver
    method = parts.last
    unless owner.respond_to?(method, true)
      raise NoMethodError, "undefined method `#{method}' for #{parts.length == 3 ? parts[1] : "main"}"
    end

    ->(event, context) { owner.send(method, event: event, context: context) }
  end

  def set_load_path(opt)
    $LOAD_PATH.unshift(ENV.fetch("LAMBDA_TASK_ROOT", Dir.pwd), "#{opt}/ruby/lib")
    version = RbConfig::CONFIG["ruby_version"]
    paths = ["#{ENV.fetch("LAMBDA_TASK_ROOT", Dir.pwd)}/vendor/bundle/ruby/#{version}", "#{opt}/ruby/gems/#{version}"]
    Gem.paths = { "GEM_HOME" => ENV["GEM_HOME"] || Gem.dir, "GEM_PATH" => (paths + Gem.path).join(":") } if defined?(Gem)
  end

  def run
    $stdout.sync = true
    $stderr.sync = true
    set_load_path(ARGV.shift || "/opt")
    api = Api.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API"))
    begin
      handler = load_handler(ENV.fetch("_HANDLER", ""))
    rescue ScriptError, StandardError => e
      body, type = report(e, "Init")
      api.post("init/error", body, type)
      exit(1)
    end
    loop { serve(api, handler) }
  end

  def serve(api, handler)
    headers, body = api.next_event
    ENV["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
    id = headers["lambda-runtime-aws-request-id"]
    begin
      event = JSON.parse(body.force_encoding("UTF-8"))
      answer = JSON.generate(handler.call(event, LambdaContext.new(headers)))
    rescue ScriptError, StandardError => e
      body, type = report(e, "Function")
      api.post("invocation/#{id}/error", body, type)
    else
      api.post("invocation/#{id}/response", answer)
    end
  end
end

SquallRuntime.run
