/* A function in C: reads its event on stdin, writes its answer on stdout, and what it logs on stderr. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char event[6 * 1024 * 1024];

/* The value of "name" in the event's path parameters; a real function would use a JSON library. */
static void find_name(char *out, size_t most) {
    const char *at = strstr(event, "\"name\"");
    snprintf(out, most, "world");
    if (!at || !(at = strchr(at + 6, '"'))) return;
    size_t length = strcspn(++at, "\"\\");
    if (length < most) {
        memcpy(out, at, length);
        out[length] = 0;
    }
}

int main(void) {
    char name[64];
    event[fread(event, 1, sizeof event - 1, stdin)] = 0;
    find_name(name, sizeof name);
    fprintf(stderr, "greeting %s for %s\n", name, getenv("LAMBDA_RUNTIME_AWS_REQUEST_ID"));
    printf("{\"statusCode\":200,\"headers\":{\"content-type\":\"text/plain\"},\"body\":\"Hello, %s!\\n\"}", name);
    return 0;
}
