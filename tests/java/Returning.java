// Keeps a client on each transport, with the client's own decision to reconnect, and tells what happens to it:
//   java -cp 'LIBS/*' Returning.java URL   ->   lines "polling connect", "websocket disconnect transport error", ...
// It ends with its standard input.

import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;

public class Returning {
  public static void main(String[] arguments) throws Exception {
    for (String transport : new String[] {"polling", "websocket"}) {
      IO.Options options = IO.Options.builder()
          .setForceNew(true).setTransports(new String[] {transport})
          .setReconnectionDelay(200).setReconnectionDelayMax(400).build();
      Socket socket = IO.socket(URI.create(arguments[0]), options);
      socket.on(Socket.EVENT_CONNECT, args -> System.out.println(transport + " connect"));
      socket.on(Socket.EVENT_DISCONNECT, args -> System.out.println(transport + " disconnect " + args[0]));
      socket.connect();
    }
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
