/* The probe on musl, whose resolver and libc are not glibc's: what runs in Alpine's images runs on it.
   It answers the questions of ../probe.py, where their contract stands, as far as they are not Python's own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define NAMES 256

extern char **environ;

/* -- a question: one flat JSON object, every value kept as text ------------------------------------ */

struct field {
    char *name, *value;
};
static struct field fields[16];
static int known;

static void put_utf8(char **to, unsigned code) {
    if (code < 0x80)
        *(*to)++ = code;
    else if (code < 0x800) {
        *(*to)++ = 0xc0 | code >> 6;
        *(*to)++ = 0x80 | (code & 0x3f);
    } else {
        *(*to)++ = 0xe0 | code >> 12;
        *(*to)++ = 0x80 | (code >> 6 & 0x3f);
        *(*to)++ = 0x80 | (code & 0x3f);
    }
}

/* The string that begins at the quote *from, unescaped in place; *from is set behind it. */
static char *read_string(char **from) {
    char *start = *from + 1, *in = start, *out = start;
    for (; *in && *in != '"'; in++) {
        if (*in != '\\') {
            *out++ = *in;
            continue;
        }
        in++;
        const char *letters = "nrtbf", *letter = strchr(letters, *in);
        if (*in == 'u') {
            char digits[5] = {in[1], in[2], in[3], in[4], 0};
            put_utf8(&out, strtoul(digits, NULL, 16));
            in += 4;
        } else
            *out++ = letter ? "\n\r\t\b\f"[letter - letters] : *in;
    }
    *from = in + 1;
    *out = 0;
    return start;
}

static void parse(char *line) {
    known = 0;
    for (char *at = strchr(line, '"'); at && known < 16; at = strchr(at, '"')) {
        struct field *field = &fields[known++];
        field->name = read_string(&at);
        at += strspn(at, ": ");
        if (*at == '"') {
            field->value = read_string(&at);
            continue;
        }
        field->value = at;
        at += strcspn(at, ",} \n");
        if (*at)
            *at++ = 0;
    }
}

static const char *text(const char *name, const char *otherwise) {
    for (int i = 0; i < known; i++)
        if (!strcmp(fields[i].name, name))
            return fields[i].value;
    return otherwise;
}

static int number(const char *name, int otherwise) {
    const char *said = text(name, NULL);
    return said ? atoi(said) : otherwise;
}

/* -- an answer ------------------------------------------------------------------------------------- */

static void say_bytes(FILE *out, const char *bytes, size_t size) {
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        unsigned char one = bytes[i];
        if (one == '"' || one == '\\')
            fprintf(out, "\\%c", one);
        else if (one < ' ')
            fprintf(out, "\\u%04x", one);
        else
            fputc(one, out);
    }
    fputc('"', out);
}

static void say(FILE *out, const char *string) {
    say_bytes(out, string, strlen(string));
}

static void say_base64(FILE *out, const unsigned char *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    fputc('"', out);
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = bytes[i] << 16 | (i + 1 < size ? bytes[i + 1] << 8 : 0) | (i + 2 < size ? bytes[i + 2] : 0);
        fputc(digits[three >> 18], out);
        fputc(digits[three >> 12 & 63], out);
        fputc(i + 1 < size ? digits[three >> 6 & 63] : '=', out);
        fputc(i + 2 < size ? digits[three & 63] : '=', out);
    }
    fputc('"', out);
}

static int by_text(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* A sorted list without doubles; the strings are freed. */
static void say_sorted(FILE *out, char **list, int count) {
    qsort(list, count, sizeof *list, by_text);
    fputc('[', out);
    for (int i = 0; i < count; i++) {
        if (i > 0 && !strcmp(list[i], list[i - 1]))
            continue;
        fputs(i ? ", " : "", out);
        say(out, list[i]);
    }
    fputc(']', out);
    for (int i = 0; i < count; i++)
        free(list[i]);
}

/* The numeric address, IPv4 in IPv6 as IPv4. */
static char *address_text(const struct sockaddr *address) {
    char host[INET6_ADDRSTRLEN] = "";
    socklen_t size = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    getnameinfo(address, size, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    return strdup(strncmp(host, "::ffff:", 7) ? host : host + 7);
}

/* -- questions: 0, or -1 with errno, or an EAI_ code as it is -------------------------------------- */

static int ask_environment(FILE *out) {
    fputc('{', out);
    for (char **one = environ; *one; one++) {
        fputs(one == environ ? "" : ", ", out);
        say_bytes(out, *one, strcspn(*one, "="));
        fputs(": ", out);
        say(out, *one + strcspn(*one, "=") + 1);
    }
    fputc('}', out);
    return 0;
}

static int ask_hostname(FILE *out) {
    char name[256] = "";
    int failed = gethostname(name, sizeof name - 1);
    say(out, name);
    return failed;
}

static int say_names(FILE *out, const char *path) {
    char *names[NAMES];
    int count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    for (struct dirent *entry; (entry = readdir(directory)) && count < NAMES;)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    closedir(directory);
    fputs(", \"kind\": \"directory\", \"names\": ", out);
    say_sorted(out, names, count);
    return 0;
}

static int say_content(FILE *out, const char *path, size_t size) {
    unsigned char *content = malloc(size + 1);
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, content, size);
    if (got >= 0) {
        fputs(", \"kind\": \"file\", \"content\": ", out);
        say_base64(out, content, got);
    }
    if (fd >= 0)
        close(fd);
    free(content);
    return got < 0 ? -1 : 0;
}

static int ask_file(FILE *out) {
    const char *path = text("path", "");
    struct stat info;
    char target[4096];
    if (lstat(path, &info))
        return -1;
    fprintf(out, "{\"mode\": %d", info.st_mode & 07777);
    if (S_ISLNK(info.st_mode)) {
        ssize_t size = readlink(path, target, sizeof target);
        if (size < 0 || stat(path, &info))
            return -1;
        fputs(", \"target\": ", out);
        say_bytes(out, target, size);
    }
    int failed = 0;
    if (S_ISDIR(info.st_mode))
        failed = say_names(out, path);
    else if (S_ISREG(info.st_mode))
        failed = say_content(out, path, info.st_size);
    else
        fputs(", \"kind\": \"other\"", out);
    fputc('}', out);
    return failed;
}

static int ask_write(FILE *out) {
    const char *content = text("text", "");
    int fd = open(text("path", ""), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, content, strlen(content));
    fprintf(out, "%zd", wrote);
    return close(fd) || wrote < 0 ? -1 : 0;
}

static int look_up(const char *host, int port, int kind, struct addrinfo **found) {
    struct addrinfo hints = {.ai_socktype = kind};
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    return getaddrinfo(*host ? host : NULL, service, &hints, found);
}

static int ask_resolve(FILE *out) {
    struct addrinfo *found;
    char *list[NAMES];
    int count = 0, failed = look_up(text("name", ""), 0, SOCK_STREAM, &found);
    if (failed)
        return failed;
    for (struct addrinfo *one = found; one && count < NAMES; one = one->ai_next)
        list[count++] = address_text(one->ai_addr);
    freeaddrinfo(found);
    say_sorted(out, list, count);
    return 0;
}

static int ask_reverse(FILE *out) {
    struct addrinfo *found;
    char name[NI_MAXHOST];
    int failed = look_up(text("address", ""), 0, SOCK_STREAM, &found);
    if (failed)
        return failed;
    failed = getnameinfo(found->ai_addr, found->ai_addrlen, name, sizeof name, NULL, 0, NI_NAMEREQD);
    freeaddrinfo(found);
    if (!failed)
        say(out, name);
    return failed;
}

/* A field of that name with the address of one end of a connected socket. */
static void say_end(FILE *out, const char *name, int sock, int (*end)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    end(sock, (struct sockaddr *)&address, &size);
    char *said = address_text((struct sockaddr *)&address);
    fprintf(out, "\"%s\": \"%s\"", name, said);
    free(said);
}

static void say_ends(FILE *out, int sock) {
    say_end(out, "own", sock, getsockname);
    fputs(", ", out);
    say_end(out, "peer", sock, getpeername);
}

/* A connected socket to the first address that answers; -1, or an EAI_ code below it, else. */
static int dial(int kind, int seconds, int *sock) {
    struct addrinfo *found;
    struct timeval patience = {.tv_sec = seconds};
    int failed = look_up(text("host", ""), number("port", 0), kind, &found);
    if (failed)
        return failed;
    failed = -1;
    for (struct addrinfo *one = found; one && failed; one = one->ai_next) {
        *sock = socket(one->ai_family, kind | SOCK_CLOEXEC, 0);
        if (*sock < 0)
            continue;
        setsockopt(*sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(*sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        failed = connect(*sock, one->ai_addr, one->ai_addrlen);
        if (failed)
            close(*sock);
    }
    freeaddrinfo(found);
    return failed;
}

static int ask_tcp(FILE *out) {
    const char *send_text = text("send", "");
    int sock, end = strcmp(text("end", "true"), "false"), failed = dial(SOCK_STREAM, 10, &sock);
    if (failed)
        return failed;
    char *received = NULL, piece[65536];
    size_t size = 0;
    FILE *whole = open_memstream(&received, &size);
    fputc('{', out);
    say_ends(out, sock);
    ssize_t got = send(sock, send_text, strlen(send_text), MSG_NOSIGNAL);
    if (got >= 0 && end)
        shutdown(sock, SHUT_WR);
    while (got >= 0 && (got = recv(sock, piece, sizeof piece, 0)) > 0) {
        fwrite(piece, 1, got, whole);
        if (!end)
            break;
    }
    int number_of_error = errno;
    fclose(whole);
    fputs(", \"received\": ", out);
    say_bytes(out, received, size);
    fputc('}', out);
    free(received);
    close(sock);
    errno = number_of_error;
    return got < 0 ? -1 : 0;
}

static int ask_udp(FILE *out) {
    int sock, size = number("size", 5), tries = number("tries", 1), failed = dial(SOCK_DGRAM, 5 / tries + 1, &sock);
    if (failed)
        return failed;
    unsigned char sent[65536], received[65536];
    for (int i = 0; i < size; i++)
        sent[i] = i % 251;
    ssize_t got = -1;
    while (got < 0 && tries-- > 0)
        if (send(sock, sent, size, 0) == size)
            got = recv(sock, received, sizeof received, 0);
    int same = got == size && !memcmp(sent, received, size);
    fprintf(out, "{\"size\": %zd, \"same\": %s, ", got, same ? "true" : "false");
    say_end(out, "peer", sock, getpeername);
    fputc('}', out);
    int number_of_error = errno;
    close(sock);
    errno = number_of_error;
    return got < 0 ? -1 : 0;
}

static int ask_addresses(FILE *out) {
    struct ifaddrs *all;
    char *list[NAMES];
    int count = 0;
    if (getifaddrs(&all))
        return -1;
    for (struct ifaddrs *one = all; one && count < NAMES; one = one->ifa_next) {
        int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
        if ((family != AF_INET && family != AF_INET6) || one->ifa_flags & IFF_LOOPBACK)
            continue;
        char *own = address_text(one->ifa_addr);
        if (strncmp(own, "fe80:", 5))
            list[count++] = own;
        else
            free(own);
    }
    freeifaddrs(all);
    say_sorted(out, list, count);
    return 0;
}

/* -- listeners: a thread for each, and one for each connection ------------------------------------- */

struct served {
    int sock;
    void *(*serve)(void *);
};

static void *echo_stream(void *given) {
    int sock = (intptr_t)given;
    char piece[65536];
    for (ssize_t got; (got = recv(sock, piece, sizeof piece, 0)) > 0;)
        send(sock, piece, got, MSG_NOSIGNAL);
    close(sock);
    return NULL;
}

static void *echo_datagrams(void *given) {
    int sock = (intptr_t)given;
    char piece[65536];
    struct sockaddr_storage peer;
    while (1) {
        socklen_t size = sizeof peer;
        ssize_t got = recvfrom(sock, piece, sizeof piece, 0, (struct sockaddr *)&peer, &size);
        if (got >= 0)
            sendto(sock, piece, got, 0, (struct sockaddr *)&peer, size);
    }
    return NULL;
}

static void say_seen(FILE *out, int sock, FILE *request, const char *first, const char *host, long length) {
    const char *who = getenv("PROBE_WHO");
    char path[4096] = "", name[256] = "";
    fputs("{\"who\": ", out);
    say(out, who ? who : "nobody");
    if (!strncmp(first, "POST ", 5)) {
        long sum = 0, left = length;
        for (int one; left > 0 && (one = fgetc(request)) != EOF; left--)
            sum += one;
        fprintf(out, ", \"length\": %ld, \"sum\": %ld}\n", length - left, sum);
        return;
    }
    sscanf(first, "%*s %4095s", path);
    gethostname(name, sizeof name - 1);
    fputs(", \"path\": ", out);
    say(out, path);
    fputs(", \"host\": ", out);
    say(out, host);
    fprintf(out, ", \"hostname\": \"%s\", ", name);
    say_ends(out, sock);
    fputs("}\n", out);
}

static void *answer_http(void *given) {
    int sock = (intptr_t)given;
    FILE *request = fdopen(dup(sock), "r");
    char first[4096] = "", line[4096], host[256] = "", *body;
    size_t size;
    long length = 0;
    if (fgets(first, sizeof first, request)) {
        while (fgets(line, sizeof line, request) && strcmp(line, "\r\n")) {
            if (!strncasecmp(line, "Host:", 5))
                sscanf(line + 5, " %255s", host);
            if (!strncasecmp(line, "Content-Length:", 15))
                length = atol(line + 15);
        }
        FILE *out = open_memstream(&body, &size);
        say_seen(out, sock, request, first, host, length);
        fclose(out);
        dprintf(sock, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                      "Connection: close\r\n\r\n%s", size, body);
        free(body);
    }
    fclose(request);
    close(sock);
    return NULL;
}

static int beside(void *(*work)(void *), void *given) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 512 << 10); /* musl's own is too small for our buffers */
    return pthread_create(&thread, &attributes, work, given);
}

static void *accept_all(void *given) {
    struct served *server = given;
    while (1) {
        int sock = accept(server->sock, NULL, NULL);
        if (sock >= 0 && beside(server->serve, (void *)(intptr_t)sock))
            close(sock);
    }
    return NULL;
}

static int listen_on(const char *kind, int port, const char *address) {
    int is_udp = !strcmp(kind, "udp"), yes = 1, no = 0;
    struct addrinfo *found;
    int failed = look_up(*address ? address : "::", port, is_udp ? SOCK_DGRAM : SOCK_STREAM, &found);
    if (failed)
        return failed;
    int sock = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (!*address)
        setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    failed = bind(sock, found->ai_addr, found->ai_addrlen) || (!is_udp && listen(sock, 256));
    freeaddrinfo(found);
    if (failed)
        return -1;
    if (is_udp)
        return beside(echo_datagrams, (void *)(intptr_t)sock);
    struct served *server = malloc(sizeof *server);
    *server = (struct served){sock, strcmp(kind, "http") ? echo_stream : answer_http};
    return beside(accept_all, server);
}

static int ask_listen(FILE *out) {
    fprintf(out, "%d", number("port", 0));
    return listen_on(text("kind", ""), number("port", 0), text("address", ""));
}

/* -- main ------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int (*ask)(FILE *);
} questions[] = {
    {"environment", ask_environment}, {"hostname", ask_hostname}, {"file", ask_file}, {"write", ask_write},
    {"resolve", ask_resolve}, {"reverse", ask_reverse}, {"tcp", ask_tcp}, {"udp", ask_udp},
    {"addresses", ask_addresses}, {"listen", ask_listen},
};

static const struct {
    int number;
    const char *name;
} errors[] = {
    {ECONNREFUSED, "ECONNREFUSED"}, {ECONNRESET, "ECONNRESET"}, {ENOENT, "ENOENT"}, {EACCES, "EACCES"},
    {EROFS, "EROFS"}, {EHOSTUNREACH, "EHOSTUNREACH"}, {ENETUNREACH, "ENETUNREACH"}, {EPIPE, "EPIPE"},
};

/* Errors are named as Python does, so that one test reads all. EAI_SYSTEM says nothing but errno. */
static void say_error(int failed) {
    int code = errno;
    const char *kind = "OSError", *name = "", *words = strerror(code);
    if (failed != -1 && failed != EAI_SYSTEM) {
        kind = "gaierror";
        words = gai_strerror(failed);
    } else if (code == EAGAIN || code == ETIMEDOUT)
        kind = "TimeoutError";
    else
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
            if (errors[i].number == code)
                name = errors[i].name;
    printf("{\"error\": {\"kind\": \"%s\", \"errno\": \"%s\", \"text\": \"%s\"}}\n", kind, name, words);
}

static void reply(char *line) {
    parse(line);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        if (strcmp(questions[i].name, text("ask", "")))
            continue;
        char *said;
        size_t size;
        FILE *out = open_memstream(&said, &size);
        errno = 0;
        int failed = questions[i].ask(out), code = errno;
        fclose(out);
        errno = code;
        if (failed)
            say_error(failed);
        else
            printf("{\"is\": %s}\n", said);
        free(said);
        return;
    }
    printf("{\"error\": {\"kind\": \"Error\", \"errno\": \"\", \"text\": \"musl's probe does not know it\"}}\n");
}

int main(int count, char **words) {
    for (int i = 2; i < count; i++) {
        char *kind = strtok(words[i], ":"), *port = strtok(NULL, "@"), *address = strtok(NULL, "");
        if (listen_on(kind, atoi(port), address ? address : "")) {
            perror("listen");
            return 1;
        }
    }
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        reply(line);
        fflush(stdout);
    }
    return 0;
}
