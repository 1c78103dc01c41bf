exports.hello = async (event) => {
    const name = event.pathParameters?.name ?? event.queryStringParameters?.name ?? 'world';
    console.log(`greeting ${name}`);

    return {
        statusCode: 200,
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ message: `Hello, ${name}!` })
    };
};
