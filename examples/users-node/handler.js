const { randomUUID: uuid } = require('node:crypto');
const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
const { DynamoDBDocument } = require('@aws-sdk/lib-dynamodb');

const dynamoDB = DynamoDBDocument.from(new DynamoDBClient({}));

// GET /users/:id
exports.getUser = async (event) => {
    const userId = event.pathParameters.id;

    const user = await dynamoDB.get({
        TableName: 'Users',
        Key: { id: userId }
    });

    return {
        statusCode: 200,
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(user)
    };
};

// POST /users
exports.createUser = async (event) => {
    const userData = JSON.parse(event.body);

    await dynamoDB.put({
        TableName: 'Users',
        Item: { id: uuid(), ...userData }
    });

    return {
        statusCode: 201,
        body: JSON.stringify({ message: 'User created' })
    };
};
