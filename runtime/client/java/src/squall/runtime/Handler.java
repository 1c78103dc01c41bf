package squall.runtime;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The function's handler: a method found by name, or by AWS's interfaces, and how its parameters are filled. */
final class Handler {
    private static final String PACKAGE = "com.amazonaws.services.lambda.runtime.";
    private final Object target;
    private final Method method;
    private final Type input;

    private Handler(Object target, Method method, Type input) {
        this.target = target;
        this.method = method;
        this.input = input;
    }

    /** `package.Class::method`, or `package.Class` of one that implements RequestHandler or RequestStreamHandler. */
    static Handler find(String name, ClassLoader loader) throws Throwable {
        int split = name.indexOf("::");
        String className = split < 0 ? name : name.substring(0, split);
        Class<?> type;
        try {
            type = Class.forName(className, true, loader);
        } catch (ClassNotFoundException e) {
            throw new ClassNotFoundException("Class not found: " + className);
        }
        String methodName = split < 0 ? "handleRequest" : name.substring(split + 2);
        if (split < 0 && !isAws(type)) {
            throw new IllegalArgumentException("Class " + className + " does not implement an appropriate handler interface: name a method, as in "
                + className + "::handleRequest");
        }
        Method method = choose(type, methodName);
        if (method == null) {
            throw new NoSuchMethodException("No public method named " + methodName + " with appropriate method signature found on class " + className);
        }
        Object target = null;
        if (!Modifier.isStatic(method.getModifiers())) {
            try {
                target = type.getConstructor().newInstance();
            } catch (NoSuchMethodException e) {
                throw new NoSuchMethodException("Class " + className + " has no public zero-argument constructor");
            }
        }
        method.setAccessible(true);
        return new Handler(target, method, inputOf(type, method));
    }

    private static boolean isAws(Class<?> type) {
        for (Class<?> t = type; t != null; t = t.getSuperclass()) {
            for (Class<?> i : t.getInterfaces()) {
                if (i.getName().equals(PACKAGE + "RequestHandler") || i.getName().equals(PACKAGE + "RequestStreamHandler")) {
                    return true;
                }
            }
        }
        return false;
    }

    /** AWS prefers the method with the context as its last parameter, then the one with most parameters; bridges do not count. */
    private static Method choose(Class<?> type, String name) {
        Method best = null;
        int bestRank = -1;
        for (Method m : type.getMethods()) {
            if (!m.getName().equals(name) || m.isBridge() || m.getParameterCount() > 3) {
                continue;
            }
            Class<?>[] p = m.getParameterTypes();
            boolean context = p.length > 0 && Context.isContext(p[p.length - 1]);
            int rank = p.length + (context ? 10 : 0);
            if (rank > bestRank) {
                best = m;
                bestRank = rank;
            }
        }
        return best;
    }

    private static Type inputOf(Class<?> type, Method method) {
        Type[] p = method.getGenericParameterTypes();
        if (p.length == 0 || Context.isContext(method.getParameterTypes()[0]) && p.length == 1) {
            return null;
        }
        if (p[0] instanceof TypeVariable) {
            return resolve(type, (TypeVariable<?>) p[0]);
        }
        return p[0];
    }

    /** What a type variable of a superclass stands for in this class. */
    private static Type resolve(Class<?> type, TypeVariable<?> variable) {
        Map<TypeVariable<?>, Type> known = new HashMap<>();
        List<Type> todo = new ArrayList<>();
        todo.add(type);
        while (!todo.isEmpty()) {
            Type t = todo.remove(todo.size() - 1);
            Class<?> raw = t instanceof ParameterizedType ? (Class<?>) ((ParameterizedType) t).getRawType() : t instanceof Class ? (Class<?>) t : null;
            if (raw == null) {
                continue;
            }
            if (t instanceof ParameterizedType) {
                Type[] args = ((ParameterizedType) t).getActualTypeArguments();
                TypeVariable<?>[] names = raw.getTypeParameters();
                for (int i = 0; i < names.length; i++) {
                    known.put(names[i], args[i]);
                }
            }
            if (raw.getGenericSuperclass() != null) {
                todo.add(raw.getGenericSuperclass());
            }
            todo.addAll(java.util.Arrays.asList(raw.getGenericInterfaces()));
        }
        Type found = variable;
        while (found instanceof TypeVariable && known.containsKey(found)) {
            found = known.get(found);
        }
        return found instanceof TypeVariable ? Object.class : found;
    }

    /** Runs it; the answer as it goes to the caller. */
    byte[] call(InputStream body, Api.Event event) throws Throwable {
        Class<?>[] p = method.getParameterTypes();
        Object[] args = new Object[p.length];
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        boolean streams = p.length > 0 && p[0] == InputStream.class;
        for (int i = 0; i < p.length; i++) {
            if (Context.isContext(p[i])) {
                args[i] = Context.of(p[i], event);
            } else if (p[i] == OutputStream.class) {
                args[i] = out;
            } else if (i == 0) {
                args[i] = streams ? body : read(event.body);
            }
        }
        Object answer = method.invoke(target, args);
        if (p.length > 1 && p[1] == OutputStream.class) {
            return out.toByteArray();
        }
        if (answer instanceof InputStream) {
            return ((InputStream) answer).readAllBytes();
        }
        return Json.write(answer);
    }

    private Object read(byte[] body) {
        String text = new String(body, StandardCharsets.UTF_8);
        try {
            return Bind.to(Json.read(text), input);
        } catch (RuntimeException e) {
            throw new IllegalArgumentException("An error occurred during JSON parsing: " + e.getMessage(), e);
        }
    }
}
