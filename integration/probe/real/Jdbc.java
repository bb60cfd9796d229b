import java.sql.DriverManager;

/** Jdbc.java URL: prints the client's address as the database sees it, and how long a large text is. */
public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        try (var connection = DriverManager.getConnection(arguments[0]);
                var statement = connection.createStatement();
                var found = statement.executeQuery("select host(inet_client_addr()), repeat('x', 1000000)")) {
            found.next();
            System.out.println(found.getString(1) + " " + found.getString(2).length());
        }
    }
}
