package squall.runtime;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.List;
import java.util.Map;

/** What a machine that waits for its function calls beforehand. */
public final class Rehearsal {
    /** An event. */
    public static final class Bean {
        private String text;
        private int number;
        private List<Object> list;
        private Map<String, String> map;

        public String getText() { return text; }
        public void setText(String value) { text = value; }
        public int getNumber() { return number; }
        public void setNumber(int value) { number = value; }
        public List<Object> getList() { return list; }
        public void setList(List<Object> value) { list = value; }
        public Map<String, String> getMap() { return map; }
        public void setMap(Map<String, String> value) { map = value; }
    }

    /** An interface to make a proxy of. */
    public interface Face {
        Object look(Object at);
    }

    public Map<String, Object> handle(Map<String, Object> event) {
        return event;
    }

    public Bean bean(Bean event) {
        return event;
    }

    public void stream(InputStream in, OutputStream out) throws IOException {
        out.write(in.readAllBytes());
    }
}
