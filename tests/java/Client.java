// Runs every check of the official Java client against one server and prints what failed:
//   java -cp 'LIBS/*' Client.java URL   ->   {"check name": null | "what went wrong", ...}
// The server is the application of tests/support/apps/clients.py.

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

public class Client {
  static final long TIMEOUT_MS = 4000;
  static final String[] POLLING = {"polling"};
  static final String[] WEBSOCKET = {"websocket"};
  static final String[] BOTH = {"polling", "websocket"};
  static String url;

  interface Check {
    void run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    JSONObject outcomes = new JSONObject();
    for (Map.Entry<String, Check> check : checks().entrySet()) {
      try {
        check.getValue().run();
        outcomes.put(check.getKey(), JSONObject.NULL);
      } catch (Throwable error) {
        outcomes.put(check.getKey(), error.toString());
      }
    }
    System.out.println(outcomes);
    System.exit(0); // its threads would go on
  }

  static Map<String, Check> checks() {
    Map<String, Check> checks = new LinkedHashMap<>();
    checks.put("polling", () -> transport(POLLING, "polling"));
    checks.put("websocket", () -> transport(WEBSOCKET, "websocket"));
    checks.put("upgrade", () -> transport(BOTH, "websocket"));
    checks.put("text over polling", () -> text(POLLING));
    checks.put("text over websocket", () -> text(WEBSOCKET));
    checks.put("binary over polling", () -> binary(POLLING));
    checks.put("binary over websocket", () -> binary(WEBSOCKET));
    checks.put("refusal with data", Client::refusal);
    checks.put("unknown namespace", Client::unknownNamespace);
    checks.put("namespace with auth", Client::namespaceWithAuth);
    checks.put("ack of the client", Client::ackOfTheClient);
    checks.put("events come in order", Client::order);
    checks.put("rooms", Client::rooms);
    checks.put("disconnected by the server", Client::kicked);
    return checks;
  }

  static void transport(String[] transports, String expected) throws Exception {
    try (Connection connection = connect("/", transports, Map.of())) {
      long deadline = System.currentTimeMillis() + TIMEOUT_MS; // the client does not tell of an upgrade
      Object found = null;
      while (!expected.equals(found) && System.currentTimeMillis() < deadline) {
        found = connection.ask("transport")[0];
      }
      same(expected, found);
    }
  }

  static void text(String[] transports) throws Exception {
    try (Connection connection = connect("/", transports, Map.of())) {
      String sent = "na\u00efve \u2603 \ud834\udd1e \\u001e";
      Object[] answer = connection.ask("echo", sent, 1.5, true, new JSONObject(Map.of("a", List.of(1))));
      same(sent, answer[0]);
      same(1.5, ((Number) answer[1]).doubleValue());
      same(true, answer[2]);
      same(1, ((JSONObject) answer[3]).getJSONArray("a").getInt(0));
      String big = "x".repeat(600_000);
      same(big, connection.ask("echo", big)[0]);
    }
  }

  static void binary(String[] transports) throws Exception {
    try (Connection connection = connect("/", transports, Map.of())) {
      connection.expect("echoed");
      byte[] big = new byte[600_000];
      Arrays.fill(big, (byte) 52);
      for (byte[] sent : List.of(new byte[] {0, -1}, "0".getBytes(StandardCharsets.US_ASCII), big)) {
        same(true, Arrays.equals(sent, (byte[]) connection.ask("echo", (Object) sent)[0]));
        connection.socket.emit("echo by event", new JSONObject().put("deep", new JSONArray().put(sent)));
        JSONObject event = (JSONObject) connection.next()[0];
        same(true, Arrays.equals(sent, (byte[]) event.getJSONArray("deep").get(0)));
      }
    }
  }

  static void refusal() throws Exception {
    for (String[] transports : List.of(POLLING, WEBSOCKET)) {
      JSONObject error = refused("/", transports, Map.of("enter", "explain"));
      same("no entry", error.getString("message"));
      same(401, error.getJSONObject("data").getInt("code"));
    }
  }

  static void unknownNamespace() throws Exception {
    same("Invalid namespace", refused("/nowhere", BOTH, Map.of()).getString("message"));
  }

  static void namespaceWithAuth() throws Exception {
    same("a token is needed", refused("/private", BOTH, Map.of()).getString("message"));
    try (Connection connection = connect("/private", BOTH, Map.of("token", "secret"))) {
      JSONArray answer = (JSONArray) connection.ask("echo", 1)[0];
      same("private", answer.get(0));
      same(1, answer.get(1));
    }
  }

  static void ackOfTheClient() throws Exception {
    try (Connection connection = connect("/", BOTH, Map.of())) {
      connection.socket.on("question", given -> ((Ack) given[2]).call(given[0], given[1], new byte[] {48}));
      Object[] answer = connection.ask("call me", "how", 2);
      same("how", answer[0]);
      same(2, answer[1]);
      same(true, Arrays.equals(new byte[] {48}, (byte[]) answer[2]));
    }
  }

  static void order() throws Exception {
    for (String[] transports : List.of(POLLING, WEBSOCKET)) {
      try (Connection connection = connect("/", transports, Map.of())) {
        connection.expect("number");
        connection.socket.emit("count", 200);
        for (int number = 0; number < 200; number++) {
          same(number, connection.next()[0]);
        }
      }
    }
  }

  static void rooms() throws Exception {
    try (Connection one = connect("/", BOTH, Map.of()); Connection two = connect("/", BOTH, Map.of())) {
      one.expect("said");
      one.ask("join", "java");
      two.ask("say", "java", "hello");
      same("hello", one.next()[0]);
      one.ask("leave", "java");
      two.ask("say", "java", "nobody");
      one.ask("echo");
      same(0, one.events.size());
    }
  }

  static void kicked() throws Exception {
    try (Connection connection = connect("/", BOTH, Map.of())) {
      connection.expect(Socket.EVENT_DISCONNECT);
      connection.socket.emit("kick me");
      same("io server disconnect", connection.next()[0]);
    }
  }

  // what the checks are made of

  static class Connection implements AutoCloseable {
    final Socket socket;
    final BlockingQueue<Object[]> events = new LinkedBlockingQueue<>();

    Connection(String namespace, String[] transports, Map<String, String> auth) {
      IO.Options options = IO.Options.builder()
          .setForceNew(true).setReconnection(false).setTransports(transports).setAuth(auth).build();
      socket = IO.socket(URI.create(url + namespace), options);
    }

    void expect(String event) {
      socket.on(event, events::add);
    }

    Object[] next() throws InterruptedException {
      Object[] found = events.poll(TIMEOUT_MS, TimeUnit.MILLISECONDS);
      if (found == null) throw new AssertionError("nothing came within " + TIMEOUT_MS + " ms");
      return found;
    }

    Object[] ask(String event, Object... args) throws InterruptedException {
      BlockingQueue<Object[]> answers = new LinkedBlockingQueue<>();
      socket.emit(event, args, answers::add);
      Object[] answer = answers.poll(TIMEOUT_MS, TimeUnit.MILLISECONDS);
      if (answer == null) throw new AssertionError("no ack of " + event + " within " + TIMEOUT_MS + " ms");
      return answer;
    }

    @Override
    public void close() {
      socket.disconnect();
    }
  }

  static Connection connect(String namespace, String[] transports, Map<String, String> auth) throws Exception {
    Connection connection = new Connection(namespace, transports, auth);
    List<Object> problems = new ArrayList<>();
    connection.socket.on(Socket.EVENT_CONNECT, args -> connection.events.add(new Object[0]));
    connection.socket.on(Socket.EVENT_CONNECT_ERROR, args -> {
      problems.add(args[0]);
      connection.events.add(args);
    });
    connection.socket.connect();
    connection.next();
    if (!problems.isEmpty()) throw new AssertionError("connect_error: " + problems);
    return connection;
  }

  static JSONObject refused(String namespace, String[] transports, Map<String, String> auth) throws Exception {
    try (Connection connection = new Connection(namespace, transports, auth)) {
      connection.expect(Socket.EVENT_CONNECT_ERROR);
      connection.socket.connect();
      return (JSONObject) connection.next()[0];
    }
  }

  static void same(Object expected, Object found) {
    if (!Objects.equals(expected, found)) throw new AssertionError("expected " + expected + ", found " + found);
  }
}
