import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.Executors;
import java.util.regex.*;
import java.util.stream.Collectors;

/**
 * The probe on a JVM, with what the JDK has: its own resolver cache, dual-stack sockets, java.nio's errors.
 * It answers the questions of ../probe.py, where their contract stands, as far as they are not Python's own.
 */
public class Probe {
    interface Answer {
        Object to(Map<String, String> question) throws Exception;
    }

    static final Map<String, Answer> QUESTIONS = Map.ofEntries(
        Map.entry("environment", q -> System.getenv()),
        Map.entry("hostname", q -> InetAddress.getLocalHost().getHostName()),
        Map.entry("file", q -> file(Path.of(q.get("path")))),
        Map.entry("write", q -> {
            Files.writeString(Path.of(q.get("path")), q.get("text"));
            return q.get("text").length();
        }),
        Map.entry("resolve", q -> sorted(List.of(InetAddress.getAllByName(q.get("name"))))),
        Map.entry("reverse", q -> reverse(q.get("address"))),
        Map.entry("tcp", q -> tcp(q)),
        Map.entry("udp", q -> udp(q)),
        Map.entry("addresses", q -> addresses()),
        Map.entry("listen", q -> {
            listen(q.get("kind"), number(q, "port", 0), q.getOrDefault("address", ""));
            return number(q, "port", 0);
        }));

    public static void main(String[] words) throws Exception {
        for (String word : Arrays.asList(words).subList(Math.min(1, words.length), words.length)) {
            String[] parts = word.split("[:@]", 3);
            listen(parts[0], Integer.parseInt(parts[1]), parts.length > 2 ? parts[2] : "");
        }
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        for (String line; (line = lines.readLine()) != null;) {
            out.println(json(reply(parse(line))));
        }
        System.exit(0);
    }

    static Map<String, Object> reply(Map<String, String> question) {
        try {
            Answer known = QUESTIONS.get(question.get("ask"));
            if (known == null) {
                throw new IllegalArgumentException("the JVM's probe does not know " + question.get("ask"));
            }
            return Map.of("is", known.to(question));
        } catch (Exception problem) {
            return Map.of("error", failed(problem));
        }
    }

    /** Errors named as Python does; the JDK tells most of errno by words alone. */
    static Map<String, Object> failed(Exception problem) {
        String text = String.valueOf(problem.getMessage());
        String kind = problem instanceof UnknownHostException ? "gaierror"
            : problem instanceof SocketTimeoutException ? "TimeoutError"
            : problem instanceof IOException ? "OSError" : problem.getClass().getSimpleName();
        String errno = problem instanceof NoSuchFileException ? "ENOENT"
            : problem instanceof AccessDeniedException ? "EACCES" : "";
        var words = Map.of(
            "Connection refused", "ECONNREFUSED", "Connection reset", "ECONNRESET", "Broken pipe", "EPIPE",
            "No route to host", "EHOSTUNREACH", "Network is unreachable", "ENETUNREACH",
            "Read-only file system", "EROFS");
        for (var said : words.entrySet()) {
            errno = text.contains(said.getKey()) ? said.getValue() : errno;
        }
        return Map.of("kind", kind, "errno", errno, "text", text);
    }

    static Map<String, Object> file(Path path) throws IOException {
        var seen = new HashMap<String, Object>();
        seen.put("mode", (Integer) Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS) & 07777);
        seen.put("kind", "other");
        if (Files.isSymbolicLink(path)) {
            seen.put("target", Files.readSymbolicLink(path).toString());
        }
        if (Files.isDirectory(path)) {
            seen.put("kind", "directory");
            try (var entries = Files.list(path)) {
                seen.put("names", entries.map(e -> e.getFileName().toString()).sorted().collect(Collectors.toList()));
            }
        } else if (Files.isRegularFile(path)) {
            seen.put("kind", "file");
            seen.put("content", Base64.getEncoder().encodeToString(Files.readAllBytes(path)));
        } else if (!Files.exists(path)) {
            throw new NoSuchFileException(path.toString());
        }
        return seen;
    }

    static String reverse(String address) throws UnknownHostException {
        InetAddress asked = InetAddress.getByName(address);
        String name = asked.getCanonicalHostName();
        if (name.equals(asked.getHostAddress())) {
            throw new UnknownHostException("no name for " + address);
        }
        return name;
    }

    static Map<String, Object> tcp(Map<String, String> q) throws IOException {
        try (var connection = new Socket()) {
            connection.connect(new InetSocketAddress(q.get("host"), number(q, "port", 0)), 10_000);
            connection.setSoTimeout(10_000);
            connection.getOutputStream().write(q.getOrDefault("send", "").getBytes(StandardCharsets.UTF_8));
            byte[] received;
            if (q.getOrDefault("end", "true").equals("true")) {
                connection.shutdownOutput();
                received = connection.getInputStream().readAllBytes();
            } else {
                var piece = new byte[65536];
                received = Arrays.copyOf(piece, Math.max(0, connection.getInputStream().read(piece)));
            }
            return Map.of(
                "received", new String(received, StandardCharsets.UTF_8),
                "own", text(connection.getLocalAddress()), "peer", text(connection.getInetAddress()));
        }
    }

    static Map<String, Object> udp(Map<String, String> q) throws IOException {
        var sent = new byte[number(q, "size", 5)];
        for (int i = 0; i < sent.length; i++) {
            sent[i] = (byte) (i % 251);
        }
        int tries = number(q, "tries", 1);
        var to = new InetSocketAddress(InetAddress.getByName(q.get("host")), number(q, "port", 0));
        var answer = new DatagramPacket(new byte[65536], 65536);
        try (var flow = new DatagramSocket()) {
            flow.setSoTimeout(5000 / tries);
            while (true) {
                flow.send(new DatagramPacket(sent, sent.length, to));
                try {
                    flow.receive(answer);
                    break;
                } catch (SocketTimeoutException problem) {
                    if (--tries <= 0) {
                        throw problem;
                    }
                }
            }
        }
        boolean same = Arrays.equals(sent, Arrays.copyOf(answer.getData(), answer.getLength()));
        return Map.of("size", answer.getLength(), "same", same, "peer", text(answer.getAddress()));
    }

    static List<String> addresses() throws SocketException {
        var own = new ArrayList<InetAddress>();
        for (NetworkInterface one : Collections.list(NetworkInterface.getNetworkInterfaces())) {
            own.addAll(Collections.list(one.getInetAddresses()));
        }
        own.removeIf(address -> address.isLoopbackAddress() || address.isLinkLocalAddress());
        return sorted(own);
    }

    // -- listeners

    static void listen(String kind, int port, String address) throws IOException {
        var where = address.isEmpty() ? new InetSocketAddress(port) : new InetSocketAddress(address, port);
        if (kind.equals("http")) {
            HttpServer server = HttpServer.create(where, 256);
            server.createContext("/", Probe::answer);
            server.setExecutor(Executors.newCachedThreadPool());
            server.start();
        } else if (kind.equals("udp")) {
            var flow = new DatagramSocket(where);
            beside(() -> {
                var datagram = new DatagramPacket(new byte[65536], 65536);
                while (true) {
                    datagram.setLength(65536);
                    flow.receive(datagram);
                    flow.send(datagram);
                }
            });
        } else {
            var listener = new ServerSocket();
            listener.bind(where, 256);
            beside(() -> {
                while (true) {
                    Socket connection = listener.accept();
                    beside(() -> {
                        try (connection) {
                            connection.getInputStream().transferTo(connection.getOutputStream());
                        }
                    });
                }
            });
        }
    }

    interface Work {
        void run() throws IOException;
    }

    static void beside(Work work) {
        new Thread(() -> {
            try {
                work.run();
            } catch (IOException ended) {
                // whoever it was for is gone
            }
        }).start();
    }

    static void answer(HttpExchange asked) throws IOException {
        var seen = new HashMap<String, Object>();
        seen.put("who", System.getenv().getOrDefault("PROBE_WHO", "nobody"));
        byte[] body = asked.getRequestBody().readAllBytes();
        if (asked.getRequestMethod().equals("POST")) {
            long sum = 0;
            for (byte one : body) {
                sum += one & 0xff;
            }
            seen.putAll(Map.of("length", body.length, "sum", sum));
        } else {
            seen.putAll(Map.of(
                "hostname", InetAddress.getLocalHost().getHostName(),
                "path", asked.getRequestURI().toString(),
                "host", String.valueOf(asked.getRequestHeaders().getFirst("Host")),
                "peer", text(asked.getRemoteAddress().getAddress()),
                "own", text(asked.getLocalAddress().getAddress())));
        }
        byte[] said = (json(seen) + "\n").getBytes(StandardCharsets.UTF_8);
        asked.getResponseHeaders().set("Content-Type", "application/json");
        asked.sendResponseHeaders(200, said.length);
        asked.getResponseBody().write(said);
        asked.close();
    }

    // -- words

    static int number(Map<String, String> question, String name, int otherwise) {
        return question.containsKey(name) ? Integer.parseInt(question.get(name)) : otherwise;
    }

    static List<String> sorted(List<InetAddress> found) {
        return found.stream().map(Probe::text).distinct().sorted().collect(Collectors.toList());
    }

    /** As RFC 5952 writes it: the JDK does not shorten IPv6. */
    static String text(InetAddress address) {
        String whole = address.getHostAddress().replaceFirst("%.*", "");
        if (!(address instanceof Inet6Address)) {
            return whole;
        }
        for (int zeros = 8; zeros > 1; zeros--) {
            Matcher run = Pattern.compile("(^|:)0" + ":0".repeat(zeros - 1) + "(:|$)").matcher(whole);
            if (run.find()) {
                return run.replaceFirst("::");
            }
        }
        return whole;
    }

    static final Map<String, String> CONTROLS = Map.of("n", "\n", "r", "\r", "t", "\t", "b", "\b", "f", "\f");
    static final Pattern FIELD = Pattern.compile(
        "\"((?:[^\"\\\\]|\\\\.)*+)\"\\s*:\\s*(?:\"([^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+)\"|([^,}\\s]+))");

    /** A flat object; every value as text. */
    static Map<String, String> parse(String line) {
        var found = new HashMap<String, String>();
        for (Matcher field = FIELD.matcher(line); field.find();) {
            found.put(field.group(1), field.group(2) == null ? field.group(3) : unescaped(field.group(2)));
        }
        return found;
    }

    static String unescaped(String said) {
        return Pattern.compile("\\\\(?:u(....)|(.))").matcher(said).replaceAll(escape -> {
            String code = escape.group(1), letter = escape.group(2);
            return Matcher.quoteReplacement(code != null
                ? String.valueOf((char) Integer.parseInt(code, 16)) : CONTROLS.getOrDefault(letter, letter));
        });
    }

    static String json(Object value) {
        if (value instanceof Map) {
            return ((Map<?, ?>) value).entrySet().stream()
                .map(e -> json(e.getKey()) + ": " + json(e.getValue())).collect(Collectors.joining(", ", "{", "}"));
        }
        if (value instanceof Collection) {
            return ((Collection<?>) value).stream().map(Probe::json).collect(Collectors.joining(", ", "[", "]"));
        }
        if (!(value instanceof String)) {
            return String.valueOf(value);
        }
        var quoted = new StringBuilder("\"");
        for (char one : ((String) value).toCharArray()) {
            if (one < ' ') {
                quoted.append(String.format("\\u%04x", (int) one));
            } else {
                quoted.append(one == '"' || one == '\\' ? "\\" : "").append(one);
            }
        }
        return quoted.append('"').toString();
    }
}
