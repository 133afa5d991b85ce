/* moments -> latencies: sends a request when it is due, answered or not the ones before.

   arrivals ADDRESS PORT CONNECTIONS <request> <moments>

   Standard input: the bytes of one request after their number, then seconds from the start at
   which it is due, after their number. Standard output: for each answer, seconds from when its
   request was due until it was sent, and until it was answered, and from the start until then. See
   arrivals.py.

   In C, since whoever sends shares the processor with the server: in Python this loop took enough
   of it to lengthen the latencies that it measured. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER = 1 << 18, EVENTS = 64 };
static const double LEAD = 0.05;      /* seconds from the first look at the clock to the start */
static const double PATIENCE = 30.0;  /* seconds, for the last answers */

typedef struct {
    int socket;
    double due, sent;
    size_t received;
    char answer[ANSWER + 1];
} Connection;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* What standard input holds next: so many things of a size, after their number. */
static void *read_many(size_t size, uint64_t *number) {
    if (fread(number, sizeof *number, 1, stdin) != 1) fail("standard input ended too soon");
    char *many = malloc(size * *number);
    if (!many || fread(many, size, *number, stdin) != *number) fail("standard input ended too soon");
    return many;
}

static void open_connection(Connection *connection, const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1;
    connection->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) fail("the address must be one of IPv4");
    if (connect(connection->socket, (void *)&to, sizeof to)) fail(strerror(errno));
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static void send_request(Connection *connection, double due, const char *request, size_t size) {
    connection->due = due;
    connection->sent = now();
    connection->received = 0;
    while (size) {
        ssize_t written = write(connection->socket, request, size);
        if (written <= 0) fail(strerror(errno));
        request += written;
        size -= (size_t)written;
    }
}

/* Read what is there; is it the whole answer? One that is not 200 ends the measurement. */
static int is_whole(Connection *connection) {
    char *answer = connection->answer, *end, *length;
    ssize_t size = read(connection->socket, answer + connection->received,
                        ANSWER - connection->received);
    if (size <= 0) fail("the server closed a connection");
    connection->received += (size_t)size;
    answer[connection->received] = 0;
    if (!(end = strstr(answer, "\r\n\r\n"))) return 0;
    length = strcasestr(answer, "\r\ncontent-length: ");
    if (strncmp(answer, "HTTP/1.1 200 ", 13) || !length || length > end) {
        fprintf(stderr, "not every request was answered well: %.*s", (int)(end - answer), answer);
        exit(1);
    }
    size_t whole = (size_t)(end + 4 - answer) + strtoul(length + 18, NULL, 10);
    if (whole > ANSWER) fail("an answer is too large for this program");
    return connection->received >= whole;
}

/* Until there is something to read, or for so long: to some microseconds. */
static int wait_for(int epoll, struct epoll_event *events, double seconds) {
    struct timespec most = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    int number = epoll_pwait2(epoll, events, EVENTS, &most, NULL);
    if (number < 0) fail(strerror(errno));
    return number;
}

int main(int count, char **words) {
    if (count != 4) fail("usage: arrivals ADDRESS PORT CONNECTIONS");
    int connections = atoi(words[3]), free_ones = 0, epoll = epoll_create1(0);
    Connection *all = calloc((size_t)connections, sizeof *all), **free_list;
    free_list = calloc((size_t)connections, sizeof *free_list);
    uint64_t size, requests, next = 0, answered = 0;
    const char *request = read_many(1, &size);
    const double *due = read_many(sizeof *due, &requests);
    double(*found)[3] = calloc(requests, sizeof *found);
    if (!all || !free_list || !found) fail("out of memory");
    for (int i = 0; i < connections; i++) {
        struct epoll_event readable = {.events = EPOLLIN, .data.ptr = &all[i]};
        open_connection(&all[i], words[1], atoi(words[2]));
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &readable);
        free_list[free_ones++] = &all[i];
    }
    double start = now() + LEAD, end = start + (requests ? due[requests - 1] : 0) + PATIENCE;
    while (answered < requests) {
        while (next < requests && free_ones && start + due[next] <= now())
            send_request(free_list[--free_ones], start + due[next++], request, size);
        if (now() > end) fail("not every request was answered in time");
        double idle = next < requests && free_ones ? start + due[next] - now() : 1.0;
        struct epoll_event events[EVENTS];
        int number = wait_for(epoll, events, idle > 0 ? idle : 0);
        for (int i = 0; i < number; i++) {
            Connection *connection = events[i].data.ptr;
            if (!is_whole(connection)) continue;
            double at = now();
            found[answered][0] = connection->sent - connection->due;
            found[answered][1] = at - connection->due;
            found[answered++][2] = at - start;
            free_list[free_ones++] = connection;
        }
    }
    return fwrite(found, sizeof *found, requests, stdout) != requests;
}
